"""How long steps take: what is kept of those that ended, and what is expected of those to come.

A step is known by its path, whatever revision of its workflow it is in: `pay`; within a body `ship/label`; for each
item or time of `orders` it is `orders[]`, or with a body `orders[]/pay`; within the first case of a switch
`choose[0]/ask`; of what a run does at its end `finally/notify`; what undoes `pay` is `pay.compensate`.

Durations are counted in buckets whose bounds grow by a tenth, as in DDSketch (Masson, Rim, Lee 2019): a quantile is at
most 5 % off, and two counts are merged by adding them. What is older counts less: after `HALF` further ends, half.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from math import ceil, exp, log
from statistics import NormalDist
from typing import Any, NamedTuple, Protocol

from leat_engine.errors import Reason
from leat_engine.layout import COMPENSATE, Draft, Placed, lay_out
from leat_engine.opener import WORDS, Choice, Group
from leat_engine.plan import Plan, PlanStep
from leat_engine.spec import WorkflowSpec

FLOOR = 0.001
"""Seconds: bucket 0 is all that took no longer."""

RATIO = 1.1
"""Bucket b holds what took longer than FLOOR * RATIO ** (b - 1), and no longer than FLOOR * RATIO ** b."""

HALF = 100.0
"""Ends of a step after which what was known before counts half."""

_LEAST = 0.005
"""A weight below this is forgotten."""

Weights = Mapping[int, float]
"""How many durations, faded ones less than one each, are in which bucket."""


class Spread(Protocol):
    """How long something takes, one time like this and another time like that."""

    def quantile(self, share: float) -> float:
        """The seconds within which this share, above 0 and below 1, of all times ends."""
        ...

    def share_within(self, seconds: float) -> float:
        """The share of all times, from 0 to 1, that end within these seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """It always takes so many seconds."""

    seconds: float

    def quantile(self, share: float) -> float:  # noqa: ARG002 - the port's signature
        """The seconds."""
        return self.seconds

    def share_within(self, seconds: float) -> float:
        """Nothing, or all."""
        return float(seconds >= self.seconds)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Half of all times within ``p50`` seconds, nine of ten within ``p90``, which is more; a few take much longer."""

    p50: float
    p90: float

    @property
    def _normal(self) -> NormalDist:
        return NormalDist(log(self.p50), log(self.p90 / self.p50) / NormalDist().inv_cdf(0.9))

    def quantile(self, share: float) -> float:
        """See `Spread`."""
        return exp(self._normal.inv_cdf(share))

    def share_within(self, seconds: float) -> float:
        """See `Spread`."""
        return self._normal.cdf(log(seconds)) if seconds > 0 else 0.0


@dataclass(frozen=True)
class Sketch:
    """Durations by their buckets; at least one."""

    weights: Weights

    def quantile(self, share: float) -> float:
        """See `Spread`; at most 5 % off, or within `FLOOR`."""
        buckets, sums = self._sums
        return middle(buckets[min(bisect_right(sums, share * sums[-1]), len(buckets) - 1)])

    def share_within(self, seconds: float) -> float:
        """See `Spread`."""
        buckets, sums = self._sums
        below = bisect_right(buckets, seconds, key=middle)
        return sums[below - 1] / sums[-1] if below else 0.0

    @cached_property
    def _sums(self) -> tuple[list[int], list[float]]:
        buckets = sorted(self.weights)
        return buckets, list(accumulate(self.weights[bucket] for bucket in buckets))


def bucket_of(seconds: float) -> int:
    """The bucket of a duration; `observe.sql` counts by the same rule."""
    return 0 if seconds <= FLOOR else max(ceil(log(seconds / FLOOR) / log(RATIO)), 0)


def middle(bucket: int) -> float:
    """The duration that stands for a bucket: no further from either of its bounds than from the other, by ratio."""
    return FLOOR * RATIO ** (bucket - 0.5) if bucket else FLOOR / 2


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected of a step.

    Attributes:
        took: How long an attempt takes, once it has begun.
        span: How long the step takes from when it may begin, with waits for runners and limits, and with retries.
        skipped: The share of runs, from 0 to 1, in which it has nothing to do.
        fails: The share of attempts that fail.
        times: Items or iterations, on average; of a step with bodies.
        cases: How often each case of a switch is taken, by its place; in any unit.
    """

    took: Spread | None = None
    span: Spread | None = None
    skipped: float = 0.0
    fails: float = 0.0
    times: float | None = None
    cases: Mapping[int, float] = field(default_factory=dict)

    @property
    def whole(self) -> Spread | None:
        """The span, or what comes nearest to it."""
        return self.span or self.took


Expectations = Mapping[str, Expected]
"""By the path of the step."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is kept of the ends of a step. All counts fade.

    Attributes:
        kind: Of the step; a step that gets another kind begins anew.
        ran: Ends with or without success; ``failed``: without; ``skipped``: times in which it had nothing to do.
        tries: Attempts, those that were followed by another one too.
        scopes: Items or iterations that it opened; ``cases``: how often which case of it was taken.
        took: Of last attempts, ``span``: from when the step might begin; seconds by bucket.
    """

    kind: str
    ran: float = 0.0
    skipped: float = 0.0
    failed: float = 0.0
    tries: float = 0.0
    scopes: float = 0.0
    cases: Weights = field(default_factory=dict)
    took: Weights = field(default_factory=dict)
    span: Weights = field(default_factory=dict)

    def after(self, before: "Facts | None") -> "Facts":
        """These newer facts together with what was known before, which has faded."""
        if before is None or before.kind != self.kind:
            return self
        left = 0.5 ** ((self.ran + self.skipped) / HALF)
        return Facts(
            self.kind,
            self.ran + left * before.ran,
            self.skipped + left * before.skipped,
            self.failed + left * before.failed,
            self.tries + left * before.tries,
            self.scopes + left * before.scopes,
            _added(self.cases, before.cases, left),
            _added(self.took, before.took, left),
            _added(self.span, before.span, left),
        )

    def expected(self) -> Expected:
        """What is to be expected, if things go on like this."""
        times = self.ran + self.skipped
        return Expected(
            took=Sketch(self.took) if self.took else None,
            span=Sketch(self.span) if self.span else None,
            skipped=self.skipped / times if times else 0.0,
            fails=max(0.0, 1 - (self.ran - self.failed) / self.tries) if self.tries else 0.0,
            times=self.scopes / self.ran if self.ran and self.kind in WORDS.values() else None,
            cases=self.cases,
        )

    def as_json(self) -> dict[str, Any]:
        """As the store keeps it."""
        counts = {name: round(getattr(self, name), 3) for name in _COUNTS}
        spread = {name: {str(b): round(n, 3) for b, n in getattr(self, name).items()} for name in _WEIGHTS}
        return {**counts, **spread}

    @classmethod
    def of(cls, kind: str, found: Mapping[str, Any]) -> "Facts":
        """What `as_json` gave."""
        counts = {name: float(found[name]) for name in _COUNTS}
        cases, took, span = ({int(b): float(n) for b, n in found[name].items()} for name in _WEIGHTS)
        return cls(kind, **counts, cases=cases, took=took, span=span)


_COUNTS = ("ran", "skipped", "failed", "tries", "scopes")
_WEIGHTS = ("cases", "took", "span")


def _added(new: Weights, old: Weights, left: float) -> dict[int, float]:
    sums = {key: new.get(key, 0.0) + left * old.get(key, 0.0) for key in {*new, *old}}
    return {key: weight for key, weight in sums.items() if weight >= _LEAST}


class Known(NamedTuple):
    """A step as it is known over all revisions; and the number of its first body in this one, 0 if it has none."""

    path: str
    kind: str
    body: int


def known_steps(spec: WorkflowSpec) -> dict[int, Known]:
    """Every step by its node."""
    reasons: list[Reason] = []
    drafts, placed = lay_out(spec, "spec", reasons)
    bodies = {0: ""}

    def path(one: Placed) -> str:
        home = one.draft.around if one.draft.undoes and one.draft.around else one.draft
        return _within(bodies[home.number], one.step.name, alone=home.alone, undoes=bool(one.draft.undoes))

    for draft in drafts[1:]:
        if draft.opener:
            bodies[draft.number] = path(placed[draft.opener - 1]) + _mark(placed[draft.opener - 1], draft)
        else:
            bodies[draft.number] = _FINALLY
    return {one.node: Known(path(one), _kind(one), one.bodies[0].number if one.bodies else 0) for one in placed}


def known_paths(plan: Plan) -> dict[int, str]:
    """The path of every step by its node, as `known_steps` gives it."""
    bodies = {0: ""}
    undoing = {undo.by for undo in plan.undoing}

    def path(step: PlanStep) -> str:
        alone = plan.bodies[step.body].result > 0
        return _within(bodies[step.body], step.name, alone=alone, undoes=step.id in undoing)

    for body in plan.bodies[1:]:
        opener = plan.steps[body.opener]
        match opener.opens:
            case None:
                bodies[body.number] = _FINALLY
            case Choice(cases=cases):
                place = [number for _, number in cases].index(body.number)
                bodies[body.number] = f"{path(opener)}[{place}]"
            case Group():
                bodies[body.number] = path(opener)
            case _:
                bodies[body.number] = f"{path(opener)}[]"
    return {step.id: path(step) for step in plan.steps if step.id > 0}


def steps_by_body(plan: Plan) -> list[list[PlanStep]]:
    """The steps of each body. Compensations are none: they run when a run fails."""
    undoing = {undo.by for undo in plan.undoing}
    found: list[list[PlanStep]] = [[] for _ in plan.bodies]
    for step in plan.steps:
        if step.id > 0 and step.id not in undoing:
            found[step.body].append(step)
    return found


_FINALLY = "finally"


def _within(around: str, name: str, *, alone: bool, undoes: bool) -> str:
    if alone:
        return f"{around}.{COMPENSATE}" if undoes else around
    return f"{around}/{name}" if around else name


def _mark(opener: Placed, draft: Draft) -> str:
    step = opener.step
    if step.for_each is not None or step.repeat is not None:
        return "[]"
    return "" if step.switch is None else f"[{[body.number for body in opener.bodies].index(draft.number)}]"


def _kind(one: Placed) -> str:
    step = one.step
    words = {"forEach": step.for_each, "repeat": step.repeat, "switch": step.switch, "steps": step.steps}
    written = next((word for word, value in words.items() if value is not None), None)
    return written or next(iter(step.others), "")


def expectations(facts: Mapping[str, Facts]) -> Expectations:
    """What is to be expected of steps, by their paths."""
    return {path: known.expected() for path, known in facts.items()}


def stratified(count: int) -> Sequence[float]:
    """Shares between 0 and 1, each the middle of one of ``count`` equal parts."""
    return [(index + 0.5) / count for index in range(count)]
