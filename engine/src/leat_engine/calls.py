"""Steps that start runs of other Workflows, judged by what these take. Pure.

Only who has both can judge: a plan is made when the other Workflow may not be there, or is another one later.
"""

from collections.abc import Iterator, Mapping

from leat_engine.errors import Reason
from leat_engine.plan import Plan, PlanStep

KIND = "workflow"


def calls(plan: Plan) -> Iterator[tuple[PlanStep, str]]:
    """Steps that name the Workflow that they call, and its name; not those that name it by an expression."""
    for node in plan.steps:
        if node.kind == KIND and isinstance(name := node.fields.member("name"), str):
            yield node, name


def call_problems(plan: Plan, callees: Mapping[str, Plan]) -> Iterator[Reason]:
    """What is wrong with the inputs that steps give to Workflows that are known: values as far as they are known."""
    for node, name in calls(plan):
        given = node.fields.members("inputs")
        if name in callees and given is not None:
            yield from callees[name].inputs.judge(given, f"{node.path}.{KIND}.inputs")
