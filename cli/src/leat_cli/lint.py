"""`leat lint`: every mistake in files, without running anything."""

from typing import TYPE_CHECKING, Annotated

import typer

from leat_cli import options
from leat_cli.output import print_value
from leat_cli.problems import Exit, Invalid, Problem

if TYPE_CHECKING:
    from leat_engine.plan import Plan
    from leat_engine.spec.source import Document


def lint(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="YAML files; - is stdin.")],
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Fail for what is doubtful, too.")] = False,
    output: options.Output = None,
) -> None:
    """Name every mistake in workflows and runs, and what is right and hardly meant.

    Each comes with its file, line and field path; what is doubtful with its rule in brackets. Exits with 0 when there
    is no mistake, and with 2 otherwise.
    """
    found = [problem for file in files for problem in check_file(file)]
    said = [problem for problem in found if not problem.note]
    doubts = sum(1 for problem in said if problem.rule)
    mistakes = len(said) - doubts
    if output is not None:
        print_value([problem.as_json() for problem in said], output)
    else:
        for problem in said:
            typer.echo(str(problem))
    for problem in found:
        if problem.note:
            typer.echo(f"note: {problem}", err=True)
    count = _counted(mistakes, "mistake") + (f", {_counted(doubts, 'doubt')}" if doubts else "")
    typer.echo(f"{count} in {_counted(len(files), 'file')}", err=True)
    raise typer.Exit(Exit.INVALID if mistakes or (strict and doubts) else Exit.OK)


def _counted(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def check_file(file: str) -> list[Problem]:
    """Return what is wrong with a file, or worth a note, in the order of its lines."""
    from leat_cli.documents import is_leat, kind_of, read_documents

    try:
        documents = read_documents(file)
    except Invalid as error:
        return list(error.problems)
    if not documents:
        return [Problem(file, 0, "", "is empty, expected a Workflow or a WorkflowRun")]
    plans: dict[str, Plan] = {}
    # A run may stand before its workflow, so the workflows come first.
    ordered = sorted(documents, key=lambda document: kind_of(document) == "WorkflowRun")
    checked = [_check(document, plans) if is_leat(document) else [_ignored(document)] for document in ordered]
    called = [_check_calls(document, plans) for document in ordered if is_leat(document)]  # all workflows are known now
    return sorted((problem for problems in checked + called for problem in problems), key=lambda problem: problem.line)


def _check(document: "Document", plans: dict[str, "Plan"]) -> list[Problem]:
    """Return what is wrong with a document. A Workflow's plan is added to ``plans``, by the workflow's name."""
    from leat_cli.documents import KINDS, kind_of, problems_of
    from leat_engine.errors import Rejected

    kind = kind_of(document)
    try:
        if kind == "Workflow":
            return _check_workflow(document, plans)
        if kind == "WorkflowRun":
            return _check_run(document, plans)
        if kind == "RunQuota":
            return _check_quota(document)
    except Rejected as error:
        return problems_of(document, error.reasons)
    message = f"found {kind!r}, expected {', '.join(KINDS)} or RunQuota"
    return [Problem(document.filename, document.line_of("kind"), "kind", message)]


def _check_workflow(document: "Document", plans: dict[str, "Plan"]) -> list[Problem]:
    from leat_cli.order import plan_of
    from leat_engine.spec import parse_workflow
    from leat_engine.trigger import with_triggers

    workflow = parse_workflow(document.data)
    plan, _ = with_triggers(workflow.spec, lambda: plan_of(workflow.spec, "spec"))
    plans[workflow.metadata.name] = plan
    return [*_nameless(document), *_doubts(document, plan)]


def _nameless(document: "Document") -> list[Problem]:
    """What the API server would say of a resource that has no name and is to get none."""
    metadata = document.data.get("metadata")
    if isinstance(metadata, dict) and (metadata.get("name") or metadata.get("generateName")):
        return []
    path = "metadata.name"
    return [Problem(document.filename, document.line_of(path), path, "is required and missing")]


def _check_calls(document: "Document", plans: dict[str, "Plan"]) -> list[Problem]:
    """Return what is wrong with the inputs that steps give to other workflows, as far as these are known."""
    from leat_cli.documents import kind_of, name_of, problems_of
    from leat_engine.calls import call_problems, calls

    plan = plans.get(name_of(document)) if kind_of(document) == "Workflow" else None
    if plan is None:
        return []
    message = "no sound Workflow {!r} is in this file, so the inputs were not checked"
    notes = [
        Problem(document.filename, document.line_of(path), path, message.format(name), note=True)
        for node, name in calls(plan)
        if name not in plans and (path := f"{node.path}.workflow.name")
    ]
    return problems_of(document, call_problems(plan, plans)) + notes


def _check_run(document: "Document", plans: dict[str, "Plan"]) -> list[Problem]:
    """Check a run; its inputs as far as its workflow is known."""
    from leat_cli.order import plan_of
    from leat_engine.spec import parse_run

    spec = parse_run(document.data).spec
    plan = None
    if spec.inline is not None:
        plan = plan_of(spec.inline, "spec.inline")
    elif spec.workflow is not None:
        plan = plans.get(spec.workflow.name)
        if plan is None:
            path = "spec.workflow.name"
            message = f"no sound Workflow {spec.workflow.name!r} is in this file, so the inputs were not checked"
            return [Problem(document.filename, document.line_of(path), path, message, note=True)]
    if plan is not None and spec.rerun is None:  # else what is not given is the old run's
        plan.inputs.apply(spec.inputs)
    doubts = _doubts(document, plan) if plan is not None and spec.inline is not None else []
    return [*_nameless(document), *doubts]


def _check_quota(document: "Document") -> list[Problem]:
    from leat_engine.spec import parse_quota

    parse_quota(document.data)
    return []


def _doubts(document: "Document", plan: "Plan") -> list[Problem]:
    """Return what is right and hardly meant."""
    from leat_engine.advice import advice

    metadata = document.data.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return [
        Problem(document.filename, document.line_of(found.path), found.path, found.message, rule=found.rule)
        for found in advice(plan, annotations if isinstance(annotations, dict) else None)
    ]


def _ignored(document: "Document") -> Problem:
    from leat_cli.documents import kind_of

    found = document.data.get("apiVersion", "nothing")
    message = f"found {found!r} ({kind_of(document) or 'no kind'}), which is not Leat's: not checked"
    return Problem(document.filename, document.line_of("apiVersion"), "apiVersion", message, note=True)
