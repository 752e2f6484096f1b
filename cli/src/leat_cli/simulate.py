"""`leat simulate`: how long a workflow will take, without running it."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leat_cli import options
from leat_cli.output import print_value
from leat_cli.problems import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from leat_cli.order import Order
    from leat_cli.simulation.given import Given
    from leat_cli.simulation.outcome import Outcome
    from leat_cli.simulation.world import Scenario, Trial
    from leat_cli.source import Place
    from leat_engine.durations import Expectations
    from leat_engine.plan import Plan, PlanStep

_MOST = 3_000_000
"""Steps that are simulated: a minute or two."""


def simulate(  # noqa: PLR0913 - an option is a parameter
    file: options.File,
    *,
    durations: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="YAML: what steps take, by name or path, as in `steps: {NAME: 30s}`."),
    ] = None,
    from_history: Annotated[
        bool, typer.Option("--from-history", help="What steps took in earlier runs; --durations overrides it.")
    ] = False,
    runs: Annotated[int, typer.Option(min=1, max=100_000, help="How many times it is simulated.")] = 200,
    together: Annotated[
        int, typer.Option(min=1, max=10_000, help="Runs that begin at once, and share slots and limits.")
    ] = 1,
    inputs: options.Inputs = None,
    inputs_file: options.InputsFile = None,
    svg: Annotated[
        str | None, typer.Option("--svg", metavar="FILE", help="Draw a run that takes as long as half of all do.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same number, the same outcome.")] = 0,
    namespace: options.Namespace = None,
    database: options.Database = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
    output: options.Output = None,
) -> None:
    """Tell how long a workflow will take, which steps that depends on, and what they wait for. Nothing is executed.

    Runs go by in simulated time, with the durations of --durations or --from-history, with limits, slots and retries.
    The path of a step in a body is that of the step with the body, and its name: group/NAME, each[] or each[]/NAME for
    each item or iteration, choose[0]/NAME for a case.
    """
    from leat_cli.order import order_of
    from leat_cli.simulation.outcome import outcome_of
    from leat_cli.simulation.world import simulate as let_go_by
    from leat_cli.source import Place
    from leat_cli.terminal import counted

    order = order_of(file, tuple(inputs or ()), inputs_file)
    place = Place(database, context, kubeconfig)
    known = asyncio.run(_history(order, namespace, place)) if from_history else {}
    scenario = _scenario(order, _given(order, durations, known), together)
    _check(scenario, runs, durations, file)
    trials = [let_go_by(scenario, seed * 1_000_003 + number) for number in counted(runs, "simulated")]
    outcome = outcome_of(trials)
    if svg is not None:
        _draw(order.workflow, trials, svg)
    if output is not None:
        print_value({"workflow": order.workflow, **outcome.as_json()}, output)
    else:
        _print(order.workflow, outcome)


async def _history(order: "Order", namespace: str | None, place: "Place") -> "Expectations":
    """Return what is known of the workflow's steps, in a database or a cluster.

    Raises:
        Invalid: No run of the workflow has ended.
        Unavailable: The place does not answer, or does not tell.
    """
    from leat_engine.durations import expectations

    async with place.open() as source:
        written = order.namespace if order.namespace != "default" else source.namespace
        where = namespace or written
        known = await source.durations(where, order.workflow)
    if not known:
        message = f"no run of {order.workflow!r} in namespace {where!r} of {source.where} has ended lately"
        raise Invalid.because(f"--from-history: {message}: give --durations FILE")
    return expectations(known)


def _given(order: "Order", durations: str | None, known: "Expectations") -> "Given":
    from leat_cli.simulation.given import Given, given_by

    return Given(known) if durations is None else given_by(durations, order.plan, known, order.at_hand)


def _scenario(order: "Order", given: "Given", together: int) -> "Scenario":
    scenario = _simulated(order.workflow, order.plan, order.inputs, _Around(given, order.at_hand, order.namespace))
    return replace(scenario, together=together, workflow="this workflow")


@dataclass(frozen=True, slots=True)
class _Around:
    """What is known where a run is simulated. ``path``: of the step that starts it, or ""."""

    given: "Given"
    callees: "Mapping[str, Plan]"
    namespace: str
    path: str = ""


def _simulated(workflow: str, plan: "Plan", inputs: "Mapping[str, Any] | None", around: _Around) -> "Scenario":
    """How runs of a workflow go by; ``inputs`` are None where they are only known when a run starts them."""
    from leat_cli.simulation.world import Scenario
    from leat_engine.estimate import items_in
    from leat_engine.opener import Fan

    run = {"id": "", "name": workflow, "namespace": around.namespace, "workflow": workflow, "phase": "Running"}
    bound: dict[str, Any] = {"run": run} if inputs is None else {"inputs": inputs, "run": run}
    unknown = {"now", "inputs"} - bound.keys()
    if plan.vars is not None and plan.vars.variables.isdisjoint(unknown):
        bound["vars"] = plan.vars.evaluate(bound)
    counts = {}
    for step in plan.steps:
        if isinstance(step.opens, Fan) and step.opens.items.variables <= bound.keys():
            count = items_in(step.opens, bound)
            if count is not None:
                counts[step.id] = count
    scenario = Scenario(plan, around.given, bound, counts, around=around.path, workflow=workflow)
    return replace(scenario, children=dict(_children(scenario, around)))


def _children(scenario: "Scenario", around: _Around) -> "Iterator[tuple[int, Scenario]]":
    """By node, the runs that steps start of which nobody has said how long they take."""
    from leat_cli.simulation.given import called
    from leat_engine.estimate import spread_of

    for step in scenario.plan.steps:
        found, path = called(step, around.callees), scenario.paths.get(step.id, "")
        if found is None or spread_of(step, around.given.expected.get(path)) is not None:
            continue
        name, plan = found
        callees = {other: each for other, each in around.callees.items() if other != name}
        inner = replace(around, callees=callees, path=path)
        yield step.id, _simulated(name, plan, _inputs(step, plan, scenario.bound), inner)


def _inputs(step: "PlanStep", plan: "Plan", bound: "Mapping[str, Any]") -> "Mapping[str, Any] | None":
    """The inputs of a child, if they follow from those of the run."""
    from leat_engine.errors import ExpressionError, Rejected

    if not step.fields.variables <= bound.keys():
        return None
    try:
        return plan.inputs.apply(step.fields.evaluate(bound).get("inputs") or {}, "inputs")
    except (ExpressionError, Rejected):
        return None


def _check(scenario: "Scenario", runs: int, durations: str | None, file: str) -> None:
    """Refuse what cannot be simulated.

    Raises:
        Invalid: Of some step it is not known how long it takes; or there are too many of them.
    """
    from leat_cli.simulation.given import missing
    from leat_cli.simulation.world import executions

    lacking = missing(scenario)
    if lacking:
        where = f"{durations}: `steps` lacks" if durations else "found no durations of some steps, expected a file with"
        lines = "\n".join(f"  {line}" for line in lacking)
        ways = "give the times that they take; or `default: 1s` for all others"
        first = f"{where}, such as:\nsteps:\n{lines}\n{ways}"
        raise Invalid.because(first if durations else f"{first}. Name the file by --durations, or take --from-history")
    steps = executions(scenario) * runs * scenario.together
    if steps > _MOST:
        message = f"found {steps:,.0f} steps to simulate in all, expected at most {_MOST:,}: take fewer --runs"
        raise Invalid.because(message, file=file)


def _draw(workflow: str, trials: "list[Trial]", file: str) -> None:
    from leat_cli.drawing.gantt import Stroke, gantt
    from leat_cli.simulation.outcome import chain, typical

    trial = typical(trials)
    slowest = max(trial.courses, key=lambda course: course.seconds)
    critical = {id(bar) for bar in chain(slowest.last)}
    strokes = [Stroke(bar.path, bar.ready, bar.begun, bar.end, id(bar) in critical) for bar in trial.bars]
    try:
        Path(file).write_text(gantt(f"{workflow}, simulated", strokes), "utf-8")
    except OSError as error:
        raise Invalid.because(f"cannot be written: {error.strerror}", file=file) from error


def _print(workflow: str, outcome: "Outcome") -> None:
    from leat_cli import terminal

    out, seconds = terminal.out(), outcome.seconds
    often = f"{outcome.trials} times" + (f", {outcome.together} runs together" if outcome.together > 1 else "")
    out.print(f"{workflow}, simulated {often}", markup=False)
    found = (("half", seconds.p50), ("9 of 10", seconds.p90), ("99 of 100", seconds.p99))
    out.print("ends within  " + "   ".join(f"{name} {terminal.duration(time)}" for name, time in found), markup=False)
    if outcome.failed:
        out.print(f"fails        {outcome.failed:.1%} of runs", markup=False)
    rows = [(part.step, f"{part.share:.0%}", f"{part.waiting:.0%}" if part.waiting else "") for part in outcome.path]
    out.print()
    out.print(terminal.table(("CRITICAL PATH", "SHARE", "OF THAT WAITING"), rows))
    if outcome.waits:
        out.print()
        headers = ("WAITS FOR", "KEY", "ASKED", "DELAYED", "P50", "P90", "MAX")
        out.print(terminal.table(headers, [
            (found.limit.sort, found.limit.key, f"{found.asked:g}", f"{found.delayed:.0%}",
             *(terminal.duration(time) for time in (found.seconds.p50, found.seconds.p90, found.seconds.most)))
            for found in outcome.waits
        ]))  # fmt: skip
