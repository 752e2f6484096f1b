"""From a file and a command line to one run that is ready to be accepted. Nothing has been started yet."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from leat_cli.documents import is_leat, kind_of, located, name_of, read_documents
from leat_cli.inputs import parse_pairs, read_file
from leat_cli.problems import Invalid, Problem
from leat_engine.errors import Reason, Rejected
from leat_engine.plan import Plan, compile_plan, revision_id
from leat_engine.spec import WorkflowRunSpec, WorkflowSpec, parse_run, parse_workflow
from leat_engine.spec.kinds import load_models
from leat_engine.spec.source import Document


@dataclass(frozen=True, slots=True)
class Callee:
    """A Workflow of the file, for steps to start runs of. Without a plan it is wrong, and ``problem`` says how."""

    namespace: str
    name: str
    spec: Mapping[str, Any]
    plan: Plan | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A run to be made here.

    Attributes:
        spec: Of the workflow, as canonical JSON.
        callees: The Workflows of the file.
        inputs: Checked, defaults applied.
        asked: The WorkflowRun's spec, with its `cancel`, `suspend` and `priority`; None without a WorkflowRun.
    """

    namespace: str
    name: str
    workflow: str
    spec: Mapping[str, Any]
    plan: Plan
    inputs: Mapping[str, Any]
    asked: WorkflowRunSpec | None = None
    callees: tuple[Callee, ...] = ()

    @property
    def at_hand(self) -> Mapping[str, Plan]:
        """Plans of the Workflows that steps may start runs of, by name; without those that are wrong."""
        return {each.name: each.plan for each in self.callees if each.namespace == self.namespace and each.plan}

    @property
    def cancel(self) -> bool:
        """Whether the run is to end before it begins."""
        return self.asked is not None and self.asked.cancel

    @property
    def suspend(self) -> bool:
        """Whether nothing of the run is to start."""
        return self.asked is not None and self.asked.suspend

    @property
    def priority(self) -> int:
        """From 0 to 9."""
        return 0 if self.asked is None else self.asked.priority


@dataclass(frozen=True, slots=True)
class GivenInputs:
    """Inputs by where they come from; later ones win: the WorkflowRun, `--inputs-file`, `-i`."""

    file: str | None
    from_file: Mapping[str, Any]
    from_line: Mapping[str, Any]

    def over(self, written: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs of the run."""
        return {**written, **self.from_file, **self.from_line}

    def problem(self, reason: Reason, run: Document | None) -> Problem:
        """Return where the input that a reason is about was written, or has to be."""
        path = reason.path.removeprefix("spec.inputs.")
        name = next((known for known in (*self.from_line, *self.from_file) if _is_of(path, known)), None)
        if name in self.from_line:
            return Problem("", 0, f"-i {path}", reason.message)
        if name in self.from_file and self.file:
            return Problem(self.file, 0, path, reason.message)
        if run is not None:
            return Problem(run.filename, run.line_of(reason.path), reason.path, reason.message)
        return Problem("", 0, reason.path, f"{reason.message}: give it with -i {path}=VALUE, or in an --inputs-file")


def order_of(file: str, pairs: tuple[str, ...], inputs_file: str | None) -> Order:
    """Read what is to be run, and check all of it.

    Args:
        file: Its WorkflowRun, or else its last Workflow, is run; ``-`` is stdin.
        pairs: ``name=value`` of the command line.
        inputs_file: A file with inputs, or None.

    Raises:
        Invalid: With every problem of the documents, or, when these are right, of the inputs.
    """
    draft, run = draft_of(file)
    return replace(draft, inputs=_inputs(draft, pairs, inputs_file, run))


def draft_of(file: str) -> tuple[Order, Document | None]:
    """Read what is to be run, its inputs as they are written; and the WorkflowRun, if there is one.

    Raises:
        Invalid: With every problem of the documents.
    """
    documents = [document for document in read_documents(file) if is_leat(document)]
    runs = [document for document in documents if kind_of(document) == "WorkflowRun"]
    workflows = [document for document in documents if kind_of(document) == "Workflow"]
    if len(runs) > 1:
        lines = ", ".join(str(document.line_of("")) for document in runs)
        raise Invalid.because(f"found {len(runs)} WorkflowRuns (lines {lines}), expected one at most", file=file)
    callees = tuple(map(callee_of, workflows))
    if runs:
        return replace(_of_run(runs[0], workflows), callees=callees), runs[0]
    if workflows:
        return replace(of_workflow(workflows[-1]), callees=callees), None
    message = "found no Workflow or WorkflowRun, expected one with `apiVersion: leat.dev/v1alpha1`"
    raise Invalid.because(message, file=file)


def of_workflow(document: Document) -> Order:
    """Return the order for a run of a Workflow, its inputs still to be given.

    Raises:
        Invalid: With every problem of the document.
    """
    with located(document):
        workflow = parse_workflow(document.data)
        spec = workflow.spec.as_json()
        plan = plan_of(workflow.spec, "spec")
    name = workflow.metadata.name
    return Order(workflow.metadata.namespace, name, name, spec, plan, {})


def callee_of(document: Document) -> Callee:
    """What steps find under a Workflow's name; one that is wrong is told to whoever calls it."""
    try:
        order = of_workflow(document)
    except Invalid as error:
        return Callee(_namespace_of(document), name_of(document), {}, None, "; ".join(map(str, error.problems)))
    return Callee(order.namespace, order.workflow, order.spec, order.plan)


def _namespace_of(document: Document) -> str:
    metadata = document.data.get("metadata")
    return str(metadata.get("namespace") or "default") if isinstance(metadata, dict) else "default"


def _of_run(document: Document, workflows: list[Document]) -> Order:
    with located(document):
        run = parse_run(document.data)
    if run.spec.rerun is not None:
        message = "goes on from a run, and there are none here: leave it out, or apply the file to a cluster"
        raise Invalid([Problem(document.filename, document.line_of("spec.rerun"), "spec.rerun", message)])
    name = run.metadata.name or run.metadata.generate_name.rstrip("-")
    spec: Mapping[str, Any]
    if run.spec.inline is not None:
        with located(document):
            plan = plan_of(run.spec.inline, "spec.inline")
        spec, workflow = run.spec.inline.as_json(), name
    else:
        wanted = run.spec.workflow.name if run.spec.workflow else ""
        called = of_workflow(_named(wanted, workflows, document))
        plan, spec, workflow = called.plan, called.spec, called.workflow
    return Order(run.metadata.namespace, name, workflow, spec, plan, run.spec.inputs, run.spec)


def _named(name: str, workflows: list[Document], run: Document) -> Document:
    for document in reversed(workflows):
        if name_of(document) == name:
            return document
    names = ", ".join(map(name_of, workflows)) or "none"
    path = "spec.workflow.name"
    message = f"found {name!r}, expected a Workflow of this file ({names}): add it, or mend the name"
    raise Invalid([Problem(run.filename, run.line_of(path), path, message)])


def plan_of(spec: WorkflowSpec, path: str) -> Plan:
    """Compile a workflow that was found at a field path, as an operator would.

    Raises:
        Rejected: With every reason.
    """
    return compile_plan(spec, load_models(), revision_id(spec.as_json()), path)


def _inputs(draft: Order, pairs: tuple[str, ...], inputs_file: str | None, run: Document | None) -> dict[str, Any]:
    from_file = read_file(inputs_file) if inputs_file else {}
    given = GivenInputs(inputs_file, from_file, parse_pairs(pairs, draft.spec.get("inputs", {})))
    try:
        return draft.plan.inputs.apply(given.over(draft.inputs))
    except Rejected as error:
        raise Invalid(given.problem(reason, run) for reason in error.reasons) from error


def _is_of(path: str, name: str) -> bool:
    """Whether a path below `spec.inputs` belongs to the input of this name."""
    return path == name or path.startswith((f"{name}.", f"{name}["))
