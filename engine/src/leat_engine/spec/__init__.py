"""What users write, as pydantic models: the only source of the CRDs, the editor schemas and the reference pages.

The law of this room: a model says what a field may hold and means, in the words its description will be read in.
Whatever needs more than one field to know (names, cycles, expressions, the kinds' fields) is decided by
`leat_engine.plan`. A mistake is answered with every reason at once, each with its field path.
"""

from leat_engine.spec.duration import parse_duration
from leat_engine.spec.parse import parse_pool, parse_quota, parse_run, parse_signal, parse_spec, parse_workflow
from leat_engine.spec.pool import RunnerPool, RunnerPoolSpec
from leat_engine.spec.quota import RunQuota, RunQuotaSpec
from leat_engine.spec.run import Rerun, WorkflowRun, WorkflowRunSpec
from leat_engine.spec.signal import WorkflowSignal, WorkflowSignalSpec
from leat_engine.spec.workflow import Compensation, History, Step, Workflow, WorkflowSpec

__all__ = [
    "Compensation",
    "History",
    "Rerun",
    "RunQuota",
    "RunQuotaSpec",
    "RunnerPool",
    "RunnerPoolSpec",
    "Step",
    "Workflow",
    "WorkflowRun",
    "WorkflowRunSpec",
    "WorkflowSignal",
    "WorkflowSignalSpec",
    "WorkflowSpec",
    "parse_duration",
    "parse_pool",
    "parse_quota",
    "parse_run",
    "parse_signal",
    "parse_spec",
    "parse_workflow",
]
