"""What is wrong with a resource, and how the API server is told. Pure but for the catalog's memory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from leat_engine.advice import advice
from leat_engine.errors import Reason, Rejected
from leat_engine.spec import WorkflowSpec, parse_pool, parse_run, parse_workflow
from leat_engine.status import bounded
from leat_engine.trigger import with_triggers
from leat_operator.catalog import Catalog, Compiled
from leat_operator.serving.answers import failure

REASONS = 50
REASON_CHARS = 512
WARNINGS = 10
WARNING_CHARS = 240
"""The API server cuts longer ones."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found: the reasons why a resource can never work, and what is odd about one that can."""

    reasons: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = ()


FINE = Verdict()


def subject(request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The object to judge; None when there is nothing to be said: its spec stays, or it is on its way out.

    Whoever adds a label to a Workflow that was wrong before must not be held up for it.
    """
    body, old = request.get("object"), request.get("oldObject")
    if request.get("operation") not in {"CREATE", "UPDATE"} or not isinstance(body, dict):
        return None
    if (body.get("metadata") or {}).get("deletionTimestamp"):
        return None
    return None if isinstance(old, dict) and old.get("spec") == body.get("spec") else body


def judge_workflow(body: Mapping[str, Any], catalog: Catalog) -> Verdict:
    """Judge a Workflow."""
    try:
        spec = parse_workflow(body).spec
        compiled, _ = with_triggers(spec, lambda: _compiled(spec, body, catalog, "spec"))
        return Verdict(warnings=tuple(_odd(compiled, body, catalog)))
    except Rejected as rejected:
        return Verdict(rejected.reasons)


def judge_run(body: Mapping[str, Any], workflow: Mapping[str, Any] | None, catalog: Catalog) -> Verdict:
    """Judge a WorkflowRun. ``workflow`` is the Workflow that it names, None when there is none (yet)."""
    try:
        spec = parse_run(body).spec
        if spec.rerun is not None:  # its revision and the rest of its inputs are in the store: accept tells
            return FINE
        if spec.inline is not None:
            compiled = _compiled(spec.inline, body, catalog, "spec.inline")
            compiled.plan.inputs.apply(spec.inputs)
            return Verdict(warnings=tuple(_odd(compiled, body, catalog)))
        if workflow is None:
            name = spec.workflow.name if spec.workflow else ""
            message = "is not there yet, so the inputs were not checked; the run starts when it is"
            return Verdict(warnings=(f"spec.workflow.name: Workflow {name} {message}",))
        try:
            compiled = _compiled(parse_workflow(workflow).spec, workflow, catalog, "spec")
        except Rejected as rejected:
            name = workflow["metadata"]["name"]
            return Verdict(
                tuple(Reason("spec.workflow.name", f"Workflow {name} is invalid: {each}") for each in rejected.reasons)
            )
        compiled.plan.inputs.apply(spec.inputs)
    except Rejected as rejected:
        return Verdict(rejected.reasons)
    return FINE


def judge_pool(body: Mapping[str, Any], installation: str) -> Verdict:
    """Judge a RunnerPool. ``installation``: the namespace whose pools get runners."""
    try:
        parse_pool(body)
    except Rejected as rejected:
        return Verdict(rejected.reasons)
    if (body.get("metadata") or {}).get("namespace") == installation:
        return FINE
    return Verdict(warnings=(f"metadata.namespace: only RunnerPools of namespace {installation} get runners",))


def workflow_of(body: Mapping[str, Any]) -> str | None:
    """The name of the Workflow that a run refers to, as far as it has one."""
    spec = body.get("spec")
    reference = spec.get("workflow") if isinstance(spec, dict) else None
    name = reference.get("name") if isinstance(reference, dict) else None
    return name if isinstance(name, str) and name else None


def response(request: Mapping[str, Any], verdict: Verdict) -> dict[str, Any]:
    """The AdmissionReview that answers a request."""
    answer: dict[str, Any] = {"uid": request["uid"], "allowed": not verdict.reasons}
    if verdict.warnings:
        answer["warnings"] = [bounded(warning, WARNING_CHARS) for warning in verdict.warnings[:WARNINGS]]
    if verdict.reasons:
        answer["status"] = failure(422, told(request, verdict.reasons), _details(request, verdict.reasons))
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}


def told(request: Mapping[str, Any], reasons: tuple[Reason, ...]) -> str:
    """Every reason on a line of its own, as `leat lint` words it; those beyond the bound are counted."""
    count = f"{len(reasons)} mistake{'' if len(reasons) == 1 else 's'}"
    lines = [f"{count} in {request['kind']['kind']} {request.get('name') or ''}".rstrip() + ":"]
    lines += [f"  {bounded(str(reason), REASON_CHARS)}" for reason in reasons[:REASONS]]
    if len(reasons) > REASONS:
        lines.append(f"  and {len(reasons) - REASONS} more; `leat lint FILE` names all")
    return "\n".join(lines)


def _details(request: Mapping[str, Any], reasons: tuple[Reason, ...]) -> dict[str, Any]:
    causes = [
        {"reason": "FieldValueInvalid", "field": reason.path, "message": bounded(reason.message, REASON_CHARS)}
        for reason in reasons[:REASONS]
    ]
    kind = request["kind"]
    return {"group": kind["group"], "kind": kind["kind"], "name": request.get("name", ""), "causes": causes}


def _compiled(spec: WorkflowSpec, body: Mapping[str, Any], catalog: Catalog, path: str) -> Compiled:
    metadata = body.get("metadata") or {}
    return catalog.compile(spec, metadata.get("namespace", ""), metadata.get("name", ""), path)


def _odd(compiled: Compiled, body: Mapping[str, Any], catalog: Catalog) -> Iterator[str]:
    """What is allowed and hardly meant, or cannot run on the pools that are known."""
    annotations = (body.get("metadata") or {}).get("annotations")
    for reason in (*catalog.incapable(compiled), *advice(compiled.plan, annotations)):
        yield str(reason)
