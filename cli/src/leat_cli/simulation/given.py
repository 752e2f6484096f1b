"""Durations as a file gives them, and everything that is wrong with them or missing."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from leat_cli.documents import problems_of, read_documents
from leat_cli.problems import Invalid
from leat_engine import limits
from leat_engine.calls import KIND as CALL
from leat_engine.durations import Expectations, Expected, Fixed, LogNormal, Spread, known_paths
from leat_engine.errors import Reason
from leat_engine.estimate import shares_of_cases, spread_of, times_of
from leat_engine.opener import WORDS, Choice, Fan, Group, Loop
from leat_engine.plan import Plan, PlanStep
from leat_engine.spec.duration import Duration, parse_duration
from leat_engine.spec.model import Model
from leat_engine.spec.parse import reasons, shown
from leat_engine.spelling import unknown

if TYPE_CHECKING:
    from leat_cli.simulation.world import Scenario

_SHARE = re.compile(r"(\d+(?:\.\d+)?)%")
_NEVER = 0.995


def _checked(value: Any) -> Any:
    found = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if found is None or float(found[1]) > 100:
        raise ValueError(f"found {shown(value)}, expected a share from 0% to 100%, such as 5%")
    return value


Share = Annotated[str, BeforeValidator(_checked)]


class StepDurations(Model):
    """How long a step takes, and what becomes of it."""

    p50: Duration | None = None
    """Half of all attempts take no longer."""
    p90: Duration | None = None
    """Nine of ten attempts take no longer; `p50` unless stated."""
    fails: Share | None = None
    """The share of attempts that fail, such as `5%`."""
    skipped: Share | None = None
    """The share of runs in which the step is skipped."""
    items: Annotated[int, Field(ge=0, le=limits.ITEMS)] | None = None
    """Of a `forEach`: how many items there are."""
    iterations: Annotated[float, Field(ge=1, le=limits.ITERATIONS, strict=False)] | None = None
    """Of a `repeat`: how many times, on average."""
    cases: Annotated[list[Annotated[float, Field(ge=0, strict=False)]], Field(max_length=limits.CASES)] | None = None
    """Of a `switch`: how often each case is taken, in any unit."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        """A duration alone is what every attempt takes."""
        if isinstance(value, str):
            return {"p50": value}
        if not isinstance(value, Mapping):
            fields = ", ".join(cls.model_fields)
            raise ValueError(f"found {shown(value)}, expected a duration such as 30s, or an object with {fields}")  # noqa: TRY004
        return value


class DurationsFile(Model):
    """Durations of the steps of a workflow."""

    default: Duration | None = None
    """What each attempt of a step takes of which nothing else is known."""
    slots: dict[str, Annotated[int, Field(ge=1, le=1_000_000)]] = Field(default_factory=dict)
    """Of pools by name, how many steps they execute at the same time; as many as there are unless stated."""
    steps: dict[str, StepDurations] = Field(default_factory=dict)
    """By the paths of steps: what each attempt takes, or more about it."""


@dataclass(frozen=True, slots=True)
class Given:
    """What is assumed.

    Attributes:
        expected: Of steps, by path.
        slots: Of pools, by name; others have as many as they need.
    """

    expected: Expectations = field(default_factory=dict)
    slots: Mapping[str, int] = field(default_factory=dict)


def given_by(file: str, plan: Plan, known: Expectations, callees: Mapping[str, Plan]) -> Given:
    """Read a file of durations; what it does not say of a step is as it is ``known``.

    Args:
        file: Its name.
        plan: Of the workflow.
        known: By path.
        callees: Plans of the Workflows that steps may start runs of, by name.

    Raises:
        Invalid: With every problem of the file.
    """
    documents = read_documents(file)
    if len(documents) != 1:
        message = f"found {len(documents)} documents, expected one with durations, such as `steps: {{NAME: 30s}}`"
        raise Invalid.because(message, file=file)
    (document,) = documents
    try:
        read = DurationsFile.model_validate(document.data, by_alias=True, by_name=False)
    except ValidationError as error:
        found = reasons(error.errors(include_url=False), DurationsFile, "")
        raise Invalid(problems_of(document, found)) from error
    steps = dict(steps_of(plan, callees))
    if wrong := [*_wrong_steps(read, steps), *_wrong_pools(read, steps)]:
        raise Invalid(problems_of(document, wrong))
    expected = {path: known.get(path, Expected()) for path in steps}
    for path, written in read.steps.items():
        expected[path] = _expected(written, expected[path])
    if read.default is not None:
        spread = Fixed(parse_duration(read.default))
        for path, step in steps.items():
            if spread_of(step, expected[path]) is None and called(step, callees) is None:
                expected[path] = replace(expected[path], took=spread)
    return Given(expected, read.slots)


def called(step: PlanStep, callees: Mapping[str, Plan]) -> tuple[str, Plan] | None:
    """The Workflow that a step starts a run of and waits for, if it is at hand, and its plan."""
    if step.kind != CALL or step.opens is not None or step.fields.member("mode") == "detach":
        return None
    name = step.fields.member("name")
    return (name, callees[name]) if isinstance(name, str) and name in callees else None


def steps_of(plan: Plan, callees: Mapping[str, Plan], around: str = "") -> Iterator[tuple[str, PlanStep]]:
    """Every step by its path, and behind it those of the run that it starts; none that is inside of itself."""
    for node, path in known_paths(plan).items():
        yield f"{around}{path}", plan.steps[node]
        if (found := called(plan.steps[node], callees)) is not None:
            name, inner = found
            others = {other: each for other, each in callees.items() if other != name}
            yield from steps_of(inner, others, f"{around}{path}/")


def missing(scenario: "Scenario") -> list[str]:
    """Say of each step that may run what is not known of it, as a line that could stand in the file."""
    gaps, plan = _Gaps(scenario), scenario.plan
    return [*gaps.inside(0), *(gaps.inside(plan.final.number) if plan.final else ())]


@dataclass(frozen=True, slots=True)
class _Gaps:
    """Looks for what is not known."""

    scenario: "Scenario"

    def inside(self, body: int) -> Iterator[str]:
        for step in self.scenario.bodies[body]:
            if not step.pure:
                known = self.scenario.given.expected.get(self.scenario.paths[step.id])
                if known is not None and known.skipped > _NEVER:
                    continue
                child = self.scenario.children.get(step.id)
                yield from self._of(step, known) if child is None else missing(child)

    def _of(self, step: PlanStep, known: Expected | None) -> Iterator[str]:
        path = self.scenario.paths[step.id]
        match step.opens:
            case None:
                if spread_of(step, known) is None:
                    yield f"{path}: 30s"
            case Fan() | Loop() as opens:
                count = self.scenario.counts.get(step.id, times_of(opens, known))
                if count is None:
                    yield f"{path}: {{items: 10}}" if isinstance(opens, Fan) else f"{path}: {{iterations: 3}}"
                if count != 0:
                    yield from self.inside(opens.body)
            case Choice() as opens:
                for (_, number), share in zip(opens.cases, shares_of_cases(opens, known), strict=True):
                    if share:
                        yield from self.inside(number)
            case Group() as opens:
                yield from self.inside(opens.body)


def _expected(written: StepDurations, known: Expected) -> Expected:
    changed: dict[str, Any] = {}
    if written.p50 is not None:
        changed |= {"took": _spread(parse_duration(written.p50), parse_duration(written.p90 or written.p50))}
        changed |= {"span": None}
    for name, share in (("fails", written.fails), ("skipped", written.skipped)):
        if share is not None:
            changed[name] = _share(share)
    times = written.items if written.items is not None else written.iterations
    if times is not None:
        changed |= {"times": float(times), "span": None}
    if written.cases is not None:
        changed |= {"cases": dict(enumerate(written.cases)), "span": None}
    return replace(known, **changed)


def _spread(p50: float, p90: float) -> Spread:
    return LogNormal(p50, p90) if p90 > p50 > 0 else Fixed(p50)


def _share(text: str) -> float:
    return float(text.removesuffix("%")) / 100


def _wrong_steps(read: DurationsFile, steps: Mapping[str, PlanStep]) -> Iterator[Reason]:
    for path, written in read.steps.items():
        here = f"steps.{path}"
        step = steps.get(path)
        if step is None:
            yield Reason(here, unknown("step", path, steps))
        else:
            yield from _wrong_step(here, written, step, _has_bodies(path, step, steps))


def _wrong_step(here: str, written: StepDurations, step: PlanStep, has_bodies: str) -> Iterator[Reason]:
    fields: Sequence[tuple[str, Any, type]] = (
        ("items", written.items, Fan),
        ("iterations", written.iterations, Loop),
        ("cases", written.cases, Choice),
    )
    for name, value, opener in fields:
        if value is not None and not isinstance(step.opens, opener):
            word = WORDS[opener]
            yield Reason(f"{here}.{name}", f"belongs to a step with `{word}`; this one is of kind `{step.kind}`")
    if step.opens is not None and (written.p50 is not None or written.fails is not None):
        yield Reason(here, has_bodies)
    yield from _wrong_times(here, written)
    if written.cases is not None and isinstance(step.opens, Choice):
        yield from _wrong_cases(here, written.cases, len(step.opens.cases))


def _wrong_times(here: str, written: StepDurations) -> Iterator[Reason]:
    if written.p90 is None:
        return
    if written.p50 is None:
        yield Reason(f"{here}.p90", "found no `p50` beside it, expected both: half and nine tenths of all attempts")
    elif parse_duration(written.p90) < parse_duration(written.p50):
        yield Reason(f"{here}.p90", f"found {written.p90!r}, expected no less than `p50`, which is {written.p50!r}")


def _wrong_cases(here: str, cases: Sequence[float], count: int) -> Iterator[Reason]:
    if len(cases) != count or not sum(cases):
        found = f"found {len(cases)} numbers" if len(cases) != count else "found only zeros"
        yield Reason(f"{here}.cases", f"{found}, expected one for each of the {count} cases, not all 0")


def _has_bodies(path: str, step: PlanStep, steps: Mapping[str, PlanStep]) -> str:
    inside = [each for each in steps if each.startswith((f"{path}[", f"{path}/"))]
    return f"takes as long as the steps of its `{step.kind}`: give their durations ({', '.join(inside[:6])})"


def _wrong_pools(read: DurationsFile, steps: Mapping[str, PlanStep]) -> Iterator[Reason]:
    pools = {step.pool for step in steps.values()}
    for pool in read.slots.keys() - pools:
        yield Reason(f"slots.{pool}", unknown("pool", pool, pools))
