"""The Workflows that the operator knows, compiled or with the reasons why they cannot be. Pure but for its memory."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog
from pydantic import ValidationError

from leat_engine.capability import incapable
from leat_engine.errors import Reason, Rejected
from leat_engine.kind import SpecModels
from leat_engine.plan import Plan, compile_plan, revision_id
from leat_engine.pools import Announced
from leat_engine.records import Revision
from leat_engine.spec import History, WorkflowSpec, parse_spec, parse_workflow
from leat_engine.trigger import Trigger, with_triggers
from leat_operator.objects import WORKFLOWS, Ref

log = structlog.get_logger(__name__)

_PLANS = 1024
"""Plans that are kept; one more is compiled again when it is needed, in milliseconds."""

_ROOTS = ("spec", "spec.inline")
"""Where a spec stands in its resource. Plans name steps by their paths, so one spec has a plan for each place."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A revision with its plan, and the pool of the workflow."""

    revision: Revision
    plan: Plan
    pool: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A Workflow: what it compiled to, or why it did not; and what it says of its runs' history.

    One that did not compile has no triggers: nothing starts it.
    """

    ref: Ref
    generation: int
    compiled: Compiled | None
    reasons: tuple[Reason, ...]
    history: History | None = None
    triggers: tuple[Trigger, ...] = ()


class Catalog:
    """Workflows by namespace and name, plans by revision and by where its spec stands."""

    def __init__(self, models: SpecModels) -> None:
        self._models = models
        self._listed: dict[tuple[str, str], Listed] = {}
        self._plans: OrderedDict[tuple[str, str], Compiled] = OrderedDict()
        self._pools: Mapping[str, Announced] = {}

    def put(self, body: Mapping[str, Any]) -> Listed:
        """Take a Workflow as the API server shows it. An invalid one is listed with its reasons."""
        ref, generation = Ref.of(WORKFLOWS, body), int(body["metadata"].get("generation", 1))
        known = self._listed.get((ref.namespace, ref.name))
        if known is not None and (known.ref.uid, known.generation) == (ref.uid, generation):
            return known
        try:
            spec = parse_workflow(body).spec
            compiled, triggers = with_triggers(spec, lambda: self.compile(spec, ref.namespace, ref.name))
            listed = Listed(ref, generation, compiled, (), history_of(body), triggers)
        except Rejected as rejected:
            listed = Listed(ref, generation, None, rejected.reasons, history_of(body))
        except Exception as error:  # a defect that one Workflow meets must not stop the others
            log.exception("workflow not compiled", uid=ref.uid, namespace=ref.namespace, name=ref.name)
            reason = Reason("spec", f"cannot be compiled: {type(error).__name__}; see the operator's log")
            listed = Listed(ref, generation, None, (reason,), history_of(body))
        self._listed[ref.namespace, ref.name] = listed
        return listed

    def announce(self, pools: Mapping[str, Announced]) -> list[Listed]:
        """Judge by what pools can do from now on. Returns the Workflows that are judged otherwise than before."""
        before = {key: self.incapable(listed.compiled) for key, listed in self._listed.items()}
        self._pools = pools
        return [listed for key, listed in self._listed.items() if self.incapable(listed.compiled) != before[key]]

    def incapable(self, compiled: Compiled | None) -> tuple[Reason, ...]:
        """Why the pools that are known cannot run what was compiled; nothing when they can, or are not known."""
        return () if compiled is None else incapable(compiled.plan, self._pools)

    def get(self, namespace: str, name: str) -> Listed | None:
        """The Workflow of this name, if there is one."""
        return self._listed.get((namespace, name))

    def all(self) -> list[Listed]:
        """Every Workflow."""
        return list(self._listed.values())

    def remove(self, ref: Ref) -> bool:
        """Forget a Workflow that was deleted, unless another one has its name already. Plans stay for running runs."""
        known = self._listed.get((ref.namespace, ref.name))
        if known is not None and known.ref.uid == ref.uid:
            del self._listed[ref.namespace, ref.name]
        return self.get(ref.namespace, ref.name) is None

    def compile(self, spec: WorkflowSpec, namespace: str, workflow: str, path: str = "spec") -> Compiled:
        """Compile a spec, or find what it compiled to before.

        Raises:
            Rejected: With every reason; their paths begin with ``path``.
        """
        document = spec.as_json()
        revision = Revision(revision_id(document), namespace, workflow, document)
        key = revision.id, path
        if (kept := self._plans.get(key)) is not None:
            self._plans.move_to_end(key)
            return replace(kept, revision=revision)  # it was another workflow's, which says the same
        compiled = Compiled(revision, compile_plan(spec, self._models, revision.id, path), spec.pool)
        self._plans[key] = compiled
        if len(self._plans) > _PLANS:
            self._plans.popitem(last=False)
        return compiled

    def plan(self, revision_id: str) -> Plan | None:
        """The plan of a revision, if it is kept."""
        found = (self._plans.get((revision_id, root)) for root in _ROOTS)
        return next((kept.plan for kept in found if kept is not None), None)

    def restore(self, revision: Revision) -> Plan:
        """Compile what the store keeps of a revision.

        Raises:
            Rejected: This version of the program does not take it any more.
        """
        return self.compile(parse_spec(revision.spec), revision.namespace, revision.workflow).plan


def history_of(body: Mapping[str, Any]) -> History | None:
    """What a Workflow says about the history of its runs, whatever the rest of it says."""
    try:
        return History.model_validate((body.get("spec") or {}).get("history"))
    except ValidationError:  # there is none, or its reason is among those of the Workflow
        return None
