"""When a run will have ended, and which of its steps that depends on.

The plan is gone through as if it ran, in a few dozen trials at once. In each trial every step takes another part of
what it is known to take: over the trials each takes all of it, evenly, and the parts of different steps meet as by
chance. The same question has the same answer always.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from graphlib import TopologicalSorter
from math import ceil
from typing import Any

from leat_engine.durations import Expectations, Expected, Fixed, Spread, known_paths, steps_by_body, stratified
from leat_engine.errors import ExpressionError
from leat_engine.opener import Choice, Fan, Group, Loop, items_of
from leat_engine.plan import Plan, PlanStep
from leat_engine.records import RunRecord
from leat_engine.result import Phase, State
from leat_engine.spec.duration import parse_duration

TRIALS = 40
TRIALS_OF_STEPS = 20_000
"""Trials times steps: what one estimate may cost, some milliseconds."""

PEOPLE = frozenset({"signal", "approval"})
"""Kinds that take as long as somebody outside lets them wait: nothing is known of that."""

LONGEST = 10 * 366 * 86_400.0
"""Seconds: nobody can say anything about what is later."""

_NEVER = 0.995
"""A step that is skipped so often is not expected to run."""

_LEAST_SHARE = 0.01
"""What takes less of the time is not told."""

_ALL = 1 - 1e-6
"""A step that has run for longer than this share of all times is over by all that is known."""

Times = list[float]
"""Seconds, one for each trial."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a step with bodies has opened: of ``size`` items ``opened``, of which the first ``settled`` are over."""

    size: int
    opened: int
    settled: int


@dataclass(frozen=True, slots=True)
class Situation:
    """How far a run's own steps are.

    Attributes:
        done: Nodes that are over.
        live: Of nodes that may run or do, the seconds since they may.
        opened: What those with bodies have opened.
    """

    done: frozenset[int] = frozenset()
    live: Mapping[int, float] = field(default_factory=dict)
    opened: Mapping[int, Opened] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """A step on the critical path, and its share, above 0 and up to 1, of the time that is left."""

    step: str
    share: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is to be expected of a run.

    Attributes:
        finish: In half of all cases it has ended by then; None when too little is known.
        late: In nine of ten cases.
        path: The steps that keep it from ending earlier, in the order in which they run.
        unknown: Steps that have never ended yet; ``people``: steps that wait for somebody.
    """

    finish: datetime | None
    late: datetime | None
    path: tuple[Part, ...] = ()
    unknown: tuple[str, ...] = ()
    people: tuple[str, ...] = ()


def goes_on(run: RunRecord) -> bool:
    """Whether the run is on its way to its own end, so that there is something to estimate."""
    return run.phase in (Phase.PENDING, Phase.RUNNING) and not run.suspended and run.stopping is None


@dataclass(frozen=True, slots=True)
class _Gaps:
    """What cannot be told of some time: paths of steps."""

    unknown: frozenset[str] = frozenset()
    people: frozenset[str] = frozenset()

    @classmethod
    def of(cls, gaps: Iterable["_Gaps"]) -> "_Gaps":
        found = list(gaps)
        nothing = frozenset[str]()
        return cls(
            nothing.union(*(each.unknown for each in found)),
            nothing.union(*(each.people for each in found)),
        )


_NOTHING = _Gaps()


class Forecast:
    """What is expected of the steps of a plan; for runs of it that have got anywhere.

    Args:
        plan: The plan.
        expected: What is known of its steps.
        counts: Items of `forEach` steps by node, where they are known better than from earlier runs.
        trials: How many cases are looked at; fewer of a plan with very many steps unless stated.
    """

    def __init__(
        self, plan: Plan, expected: Expectations, counts: Mapping[int, float] | None = None, trials: int | None = None
    ) -> None:
        trials = trials or max(min(TRIALS, TRIALS_OF_STEPS // len(plan.steps)), 1)
        self._plan = plan
        self._expected = expected
        self._counts = counts or {}
        self._shares = stratified(trials)
        self._zero: Times = [0.0] * trials
        self._paths = known_paths(plan)
        self._orders = [_order(steps) for steps in steps_by_body(plan)]
        self._plain: dict[int, Times] = {}
        self._whole: dict[int, Times] = {}
        self._gaps: dict[int, _Gaps] = {}
        for order in reversed(self._orders):  # bodies before their openers
            for node in order:
                self._look_at(plan.steps[node])

    def estimate(self, situation: Situation, now: datetime, *, path: bool = True) -> Estimate:
        """When a run ends that is so far now; without its critical path if nobody asks for it."""
        ends, starts_after = self._go(situation)
        last = _latest(list(ends.values()), self._zero)
        gaps = _Gaps.of(self._gaps[node] for node in self._orders[0] if node not in situation.done)
        if self._plan.final is not None:
            final, lacking = self._body(self._plan.final.number)
            last, gaps = _plus(last, final), _Gaps.of((gaps, lacking))
        parts = self._path(ends, starts_after) if path else ()
        if gaps.unknown or gaps.people:
            return Estimate(None, None, parts, tuple(sorted(gaps.unknown)), tuple(sorted(gaps.people)))
        finish, late = (now + timedelta(seconds=min(_at(last, share), LONGEST)) for share in (0.5, 0.9))
        return Estimate(finish, late, parts)

    def _go(self, situation: Situation) -> tuple[dict[int, Times], dict[int, tuple[int, ...]]]:
        """When each open step of the run itself ends, in seconds from now; and after which ones it can begin."""
        ends: dict[int, Times] = {}
        after: dict[int, tuple[int, ...]] = {}
        for node in self._orders[0]:
            if node in situation.done:
                continue
            step = self._plan.steps[node]
            if node in situation.live:
                ends[node] = self._left(step, situation.live[node], situation.opened.get(node))
                continue
            after[node] = tuple(edge.step for edge in step.needs if edge.step in ends)
            ends[node] = _plus(_latest([ends[need] for need in after[node]], self._zero), self._whole[node])
        return ends, after

    def _path(self, ends: Mapping[int, Times], after: Mapping[int, tuple[int, ...]]) -> tuple[Part, ...]:
        """Of each trial the shares of the steps that its end depends on; of all trials the mean of these."""
        shares: dict[int, float] = dict.fromkeys(ends, 0.0)
        for trial in range(len(self._zero)):
            node = max(ends, key=lambda each: ends[each][trial], default=None)
            whole = ends[node][trial] if node is not None else 0.0
            while node is not None and whole:
                before = max(after.get(node, ()), key=lambda each: ends[each][trial], default=None)
                took = ends[node][trial] - (ends[before][trial] if before is not None else 0.0)
                shares[node] += took / whole / len(self._zero)
                node = before
        return tuple(Part(self._paths[node], share) for node, share in shares.items() if share > _LEAST_SHARE)

    # -- single steps ---------------------------------------------------------------------------------------------

    def _look_at(self, step: PlanStep) -> None:
        """How long a step takes from when it may begin: ``_plain`` if it runs, ``_whole`` if it may be skipped."""
        known = self._expected.get(self._paths[step.id])
        skipped = known.skipped if known is not None else float(_only_handles(step))
        plain, gaps = self._runs(step, known)
        never = skipped > _NEVER
        self._plain[step.id] = plain
        self._whole[step.id] = self._zero if never else self._but(skipped, plain, self._paths[step.id])
        self._gaps[step.id] = _NOTHING if never else gaps

    def _runs(self, step: PlanStep, known: Expected | None) -> tuple[Times, _Gaps]:
        path = self._paths[step.id]
        if step.pure:
            return self._zero, _NOTHING
        if step.kind in PEOPLE:
            return self._zero, _Gaps(people=frozenset({path}))
        if step.opens is not None:
            inside, gaps = self._opens(step, known)
            if known is None or known.whole is None or step.id in self._counts:
                return inside, gaps
            return self._times(known.whole, path), _Gaps(people=gaps.people)
        spread = spread_of(step, known)
        if spread is None:
            return self._zero, _Gaps(unknown=frozenset({path}))
        return self._times(spread, path), _NOTHING

    def _opens(self, step: PlanStep, known: Expected | None) -> tuple[Times, _Gaps]:
        opens, path = step.opens, self._paths[step.id]
        if isinstance(opens, Choice):
            return self._chooses(opens, known, path)
        assert isinstance(opens, Fan | Loop | Group)  # noqa: S101 (a closed set)
        inside, gaps = self._body(opens.body)
        if isinstance(opens, Group):
            return inside, gaps
        times = self._counts.get(step.id, times_of(opens, known))
        if times is None:
            return self._zero, _Gaps(gaps.unknown | {path}, gaps.people)
        if times <= 0:
            return self._zero, _NOTHING
        if isinstance(opens, Fan):
            return self._fan(inside, times, opens.parallel, path), gaps
        mean = sum(inside) / len(inside)
        return [time + max(times - 1, 0.0) * (mean + opens.delay) for time in inside], gaps

    def _chooses(self, opens: Choice, known: Expected | None, path: str) -> tuple[Times, _Gaps]:
        weights = shares_of_cases(opens, known)
        taken = [index for index, weight in enumerate(weights) if weight > 0]
        inside = {index: self._body(opens.cases[index][1]) for index in taken}
        times, edge = list(self._zero), 0.0
        places = self._shuffled(f"{path}[]")
        for index in taken:
            upper = edge + weights[index]
            for trial, share in enumerate(places):
                if edge <= share < upper:
                    times[trial] = inside[index][0][trial]
            edge = upper
        return times, _Gaps.of(gaps for _, gaps in inside.values())

    def _body(self, number: int) -> tuple[Times, _Gaps]:
        ends: dict[int, Times] = {}
        for node in self._orders[number]:
            before = [ends[edge.step] for edge in self._plan.steps[node].needs]
            ends[node] = _plus(_latest(before, self._zero), self._whole[node])
        return _latest(list(ends.values()), self._zero), _Gaps.of(self._gaps[node] for node in ends)

    def _fan(self, inside: Times, items: float, parallel: int, path: str) -> Times:
        """Rounds of as many items as may be under way at once; the last one takes as long as its slowest item."""
        ordered, count = sorted(inside), max(round(items), 1)
        rounds, mean = ceil(count / parallel), sum(inside) / len(inside)
        slowest = [share ** (1 / min(count, parallel)) for share in self._shuffled(f"{path}[]")]
        return [(rounds - 1) * mean + _at(ordered, share) for share in slowest]

    def _left(self, step: PlanStep, elapsed: float, opened: Opened | None) -> Times:
        """Of a step that may run for ``elapsed`` seconds already, what it still takes."""
        known, path, plain = self._expected.get(self._paths[step.id]), self._paths[step.id], self._plain[step.id]
        if isinstance(step.opens, Fan) and opened is not None:
            inside, _ = self._body(step.opens.body)
            whole = self._fan(inside, opened.size, step.opens.parallel, path) if opened.size else self._zero
            return self._of_fan(step.opens, opened, (inside, whole), elapsed)
        spread = None if step.pure or step.kind in PEOPLE else spread_of(step, known)
        if spread is None:
            return [max(time - elapsed, 0.0) for time in plain]
        gone = spread.share_within(elapsed)
        if gone > _ALL:
            return self._zero
        places = self._shuffled(path)
        return [max(spread.quantile(gone + (1 - gone) * share) - elapsed, 0.0) for share in places]

    def _of_fan(self, fan: Fan, opened: Opened, times: tuple[Times, Times], elapsed: float) -> Times:
        """By its beginning and by what is left, whichever is sooner; but what has not begun has to be done."""
        inside, whole = times
        left, path = opened.size - opened.settled, self._paths[self._plan.bodies[fan.body].opener]
        by_rest = self._fan(inside, left, fan.parallel, path) if left > 0 else self._zero
        waiting = opened.size - opened.opened
        least = self._fan(inside, waiting, fan.parallel, path) if waiting > 0 else self._zero
        return [
            max(min(max(total - elapsed, 0.0), rest), floor)
            for total, rest, floor in zip(whole, by_rest, least, strict=True)
        ]

    # -- trials ---------------------------------------------------------------------------------------------------

    def _times(self, spread: Spread, path: str) -> Times:
        return [spread.quantile(share) for share in self._shuffled(path)]

    def _but(self, skipped: float, times: Times, path: str) -> Times:
        if not skipped:
            return times
        places = self._shuffled(f"{path}?")
        return [0.0 if share < skipped else time for share, time in zip(places, times, strict=True)]

    def _shuffled(self, path: str) -> Sequence[float]:
        """The trials' shares in an order of this path's own, always the same."""
        shares = list(self._shares)
        random.Random(path).shuffle(shares)  # noqa: S311 - nobody has to guess it
        return shares


def spread_of(step: PlanStep, known: Expected | None) -> Spread | None:
    """How long a step takes that opens nothing; a `wait` says so itself."""
    if known is not None and known.whole is not None:
        return known.whole
    if step.kind == "wait" and step.fields.constant:
        written = step.fields.evaluate({}).get("duration")
        return None if written is None else Fixed(parse_duration(written))
    return None


def items_in(fan: Fan, bound: Mapping[str, Any]) -> float | None:
    """How many items a `forEach` has, given what its expressions read; None if it has no list then."""
    try:
        return float(len(items_of(fan.items.evaluate(bound))))
    except (ExpressionError, ValueError):
        return None


def times_of(opens: Fan | Loop, known: Expected | None) -> float | None:
    """Items or iterations: those that are written, or as many as there were before."""
    if isinstance(opens, Fan) and opens.items.constant:
        return items_in(opens, {})
    if isinstance(opens, Loop) and opens.until is None:
        return float(opens.max)
    return known.times if known is not None else None


def shares_of_cases(opens: Choice, known: Expected | None) -> list[float]:
    """Of each case of a switch the share of times in which it is taken; the same for all while nothing is known."""
    taken = known.cases if known is not None else {}
    weights = [taken.get(index, 0.0) for index in range(len(opens.cases))]
    total = sum(weights)
    return [weight / total for weight in weights] if total else [1 / len(weights)] * len(weights)


def _only_handles(step: PlanStep) -> bool:
    """Whether a step is only there for the failure of another one."""
    return any(not edge.on & {State.SUCCEEDED, State.SKIPPED} for edge in step.needs)


def _order(steps: Sequence[PlanStep]) -> list[int]:
    """Steps of a body, each behind all that it needs."""
    return list(TopologicalSorter({step.id: [edge.step for edge in step.needs] for step in steps}).static_order())


def _latest(times: Sequence[Times], zero: Times) -> Times:
    if not times:
        return zero
    return times[0] if len(times) == 1 else [max(each) for each in zip(*times, strict=True)]


def _plus(times: Times, more: Times) -> Times:
    return [time + other for time, other in zip(times, more, strict=True)]


def _at(times: Sequence[float], share: float) -> float:
    """The quantile of some times."""
    ordered = sorted(times)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
