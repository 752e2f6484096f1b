"""Again: a WorkflowRun with `rerun` is admitted with what the store says of the run that it goes on from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from leat_engine.errors import Reason, Rejected
from leat_engine.job import ROOT_SCOPE
from leat_engine.plan import Plan
from leat_engine.records import Lineage, Revision, RunRecord
from leat_engine.rerun import Beginning, begin_again, clean_again, undone_by
from leat_engine.result import State
from leat_engine.spec import Rerun, WorkflowRun, parse_run, parse_spec
from leat_engine.store import Store
from leat_operator.admit import Admitted, Unable, admitted
from leat_operator.catalog import Catalog, Compiled
from leat_operator.insist import insist

_PATH = "spec.rerun"


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the store has of a run that another one goes on from.

    Attributes:
        revision: None when it is not kept any more.
        states: How its steps ended, by node.
        nodes: Every node that has begun to exist in a run that was cleaned up, whatever the scope.
    """

    run: RunRecord
    revision: Revision | None
    states: Mapping[int, State]
    nodes: frozenset[int] = frozenset()


def predecessor(body: Mapping[str, Any]) -> str | None:
    """The name of the run that a resource goes on from, as it is written; None when it begins at its first step."""
    wish = body["spec"].get("rerun")
    return None if wish is None else str(wish.get("of", ""))


async def recall(store: Store, namespace: str, name: str) -> Recalled | None:
    """Read what is known of the newest run of a name, if there is one. It waits for a store that is away."""
    run = await insist(lambda: store.find_run(namespace, name))
    if run is None:
        return None
    revision = await insist(lambda: store.revision(run.revision))
    ends = await insist(lambda: store.survey(run.run_id, ROOT_SCOPE))
    nodes = frozenset[int]()
    if run.outcome is not None:
        nodes = await insist(lambda: store.cleanups.nodes(run.run_id))
    return Recalled(run, revision, {node: state for node, (state, _) in ends.items()}, nodes)


def readmit(body: Mapping[str, Any], old: Recalled | None, catalog: Catalog) -> Admitted | Unable:
    """Decide about a WorkflowRun that goes on from another run.

    Raises:
        Rejected: It can never run; with every reason.
    """
    document = parse_run(body)
    if old is None:
        wanted = f"run {predecessor(body)} of namespace {body['metadata']['namespace']}"
        message = f"the store knows no {wanted}: mend the name, or start a new run; runs are forgotten after a time"
        raise Rejected([Reason(f"{_PATH}.of", message)])
    compiled = _compiled(old, catalog)
    _check_source(document, old.run, compiled, catalog)
    reasons = catalog.incapable(compiled)
    if reasons:
        return Unable(old.run.workflow if document.spec.workflow else "", reasons)
    return _goes_on(body, document, compiled, old)


def _goes_on(body: Mapping[str, Any], document: WorkflowRun, compiled: Compiled, old: Recalled) -> Admitted:
    """The run for the store. Inputs that are not given are the old run's."""
    wish = document.spec.rerun
    begun = _begun(wish, compiled.plan, old)
    spec = document.spec.model_copy(update={"inputs": {**old.run.inputs, **document.spec.inputs}})
    found = admitted(body, document.model_copy(update={"spec": spec}), compiled, old.run.workflow)
    cleanup = wish is not None and wish.compensate
    lineage = Lineage(old.run.run_id, old.run.name, begun.kept, begun.joins, cleanup)
    run = replace(found.run, revision=old.run.revision, roots=begun.roots, lineage=lineage)
    return replace(found, run=run)


def _begun(wish: Rerun | None, plan: Plan, old: Recalled) -> Beginning:
    if wish is not None and wish.compensate:
        return clean_again(plan, old.run, _PATH)
    undone = undone_by(plan, (undo.by for undo in plan.undoing if undo.by in old.nodes))
    standing = {node: state for node, state in old.states.items() if node not in undone}
    return begin_again(plan, old.run, standing, wish.start if wish else (), _PATH)


def _compiled(old: Recalled, catalog: Catalog) -> Compiled:
    run, revision = old.run, old.revision
    if revision is None:
        message = f"the store has not revision {run.revision} of run {run.name} any more: start a new run"
        raise Rejected([Reason(f"{_PATH}.of", message)])
    try:
        return catalog.compile(parse_spec(revision.spec), revision.namespace, revision.workflow)
    except Rejected as rejected:
        why = f"this version does not take the revision of run {run.name} any more"
        raise Rejected([Reason(f"{_PATH}.of", f"{why}: {reason}") for reason in rejected.reasons]) from rejected


def _check_source(document: WorkflowRun, old: RunRecord, compiled: Compiled, catalog: Catalog) -> None:
    """Refuse a run that says of itself that it is of something else than the old one."""
    spec = document.spec
    if spec.workflow is not None and spec.workflow.name != old.workflow:
        message = f"found {spec.workflow.name!r}, but run {old.name} is of {old.workflow!r}"
        raise Rejected([Reason("spec.workflow.name", f"{message}: name that, or start a new run")])
    if spec.inline is not None:
        inline = catalog.compile(spec.inline, old.namespace, old.name, "spec.inline")
        if inline.revision.id != compiled.revision.id:
            message = f"differs from what run {old.name} ran: what is kept would not be of this workflow"
            raise Rejected([Reason("spec.inline", f"{message}. Repeat it as it was, or start a new run")])
