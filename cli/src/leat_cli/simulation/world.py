"""Runs that go by in simulated time: their steps begin, wait for limits and slots, fail, are tried again, and end."""

import random
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import simpy

from leat_cli.simulation.given import Given
from leat_engine.bucket import Bucket, turn
from leat_engine.child import time_of
from leat_engine.durations import Expected, Spread, known_paths, steps_by_body
from leat_engine.errors import ExpressionError
from leat_engine.estimate import shares_of_cases, spread_of, times_of
from leat_engine.expression import Template, as_text
from leat_engine.graph import Edge
from leat_engine.opener import Choice, Fan, Group, Loop
from leat_engine.plan import Plan, PlanStep
from leat_engine.restraint import Rate, Slots
from leat_engine.result import State

_PARKED = frozenset({"wait", "signal", "approval", "workflow"})
"""Kinds that hold no slot of their pool."""

_RAN = frozenset({State.SUCCEEDED, State.FAILED})

Events = Generator[simpy.Event, Any, Any]


class Limit(NamedTuple):
    """What may hold a step back: its sort, such as `pool`, and its key."""

    sort: str
    key: str


@dataclass(slots=True, eq=False)
class Bar:
    """One step, one time, in seconds: it could begin at ``ready``, began at ``begun`` and was over at ``end``.

    Attributes:
        cause: What had to be over before: the bar that ended last of these.
    """

    path: str
    run: int
    ready: float
    begun: float
    end: float
    cause: "Bar | None"


@dataclass(frozen=True, slots=True)
class Course:
    """How one run went by. ``last``: the step that ended last."""

    seconds: float
    failed: bool
    last: Bar | None


@dataclass(slots=True)
class Trial:
    """Runs that began together. ``waits``: seconds, also none, by what was asked."""

    courses: list[Course] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    waits: dict[Limit, list[float]] = field(default_factory=lambda: defaultdict(list))


@dataclass(frozen=True)
class Scenario:
    """What is simulated.

    Attributes:
        bound: What expressions of the run's own scope may read: ``inputs``, ``vars``, ``run``.
        counts: Items of `forEach` steps that follow from the inputs, by node.
        together: Runs that begin at the same time.
        children: By node, the runs that steps start and wait for, where these take as long as their own steps do.
        around: Of a child, the path of the step that starts it; workflow: what it is a run of.
    """

    plan: Plan
    given: Given
    bound: Mapping[str, Any]
    counts: Mapping[int, float]
    together: int = 1
    children: "Mapping[int, Scenario]" = field(default_factory=dict)
    around: str = ""
    workflow: str = "this workflow"

    @cached_property
    def paths(self) -> Mapping[int, str]:
        """Of its steps, by node."""
        paths = known_paths(self.plan)
        return {node: f"{self.around}/{path}" for node, path in paths.items()} if self.around else paths

    @cached_property
    def bodies(self) -> list[list[PlanStep]]:
        """Its steps by their bodies."""
        return steps_by_body(self.plan)


class _End(NamedTuple):
    state: State
    bar: Bar | None


def simulate(scenario: Scenario, seed: int) -> Trial:
    """Let the runs go by; the same seed, the same course."""
    world = _World(random.Random(seed))  # noqa: S311 - nobody has to guess it
    for number in range(scenario.together):
        world.env.process(_Run(world, scenario, number).whole())
    world.env.run()
    return world.trial


def executions(scenario: Scenario) -> float:
    """How many steps one run has, on average and at most as far as a `switch` goes."""
    plan, paths, steps = scenario.plan, scenario.paths, scenario.bodies
    inside = [0.0] * len(plan.bodies)
    for body in reversed(plan.bodies):  # inner ones first
        for step in steps[body.number]:
            inside[body.number] += 1
            match step.opens:
                case Fan() | Loop() as opens:
                    times = scenario.counts.get(step.id, times_of(opens, scenario.given.expected.get(paths[step.id])))
                    inside[body.number] += (times or 0.0) * inside[opens.body]
                case Choice() as opens:
                    inside[body.number] += max(inside[number] for _, number in opens.cases)
                case Group() as opens:
                    inside[body.number] += inside[opens.body]
                case _ if step.id in scenario.children:
                    inside[body.number] += executions(scenario.children[step.id])
    return inside[0] + (inside[plan.final.number] if plan.final else 0.0)


class _World:
    """What all runs of one trial share."""

    def __init__(self, chance: random.Random) -> None:
        self.env = simpy.Environment()
        self.trial = Trial()
        self.chance = chance
        self.resources: dict[Limit, simpy.Resource] = {}
        self.buckets: dict[str, Bucket] = {}


class _Run:
    """One run: the ``number``-th of those that begin together, or a child, which is stopped with the one above it."""

    def __init__(self, world: _World, scenario: Scenario, number: int, above: "_Run | None" = None) -> None:
        self.env, self.trial, self._chance = world.env, world.trial, world.chance
        self._world = world
        self._scenario = scenario
        self._plan = scenario.plan
        self._paths = scenario.paths
        self._number = number
        self._above = above
        self.failing = False

    @property
    def stopping(self) -> bool:
        """Whether nothing begins any more."""
        return self.failing or (self._above is not None and self._above.stopping)

    def whole(self) -> Events:
        """The run that was asked for, from its beginning to its end."""
        timeout = self._plan.timeout
        failed, last = yield from self.through(None)
        seconds = self.env.now
        if timeout is not None and seconds > timeout:
            seconds, failed = timeout, True
        self.trial.courses.append(Course(seconds, failed, last))

    def through(self, cause: Bar | None) -> Events:
        """Its steps, as soon as it may begin; whether it failed, and what ended last."""
        slots = self._plan.slots
        held = None
        if slots is not None:
            limit = Limit("concurrency of runs", self._key(slots.key, self._scenario.workflow))
            held = yield from self._acquire(limit, slots.limit)
        failed, last = yield from self._body(0, cause)
        failed = failed or self.failing
        if self._plan.final is not None:
            self.failing = False  # what is to be done at the end is done in any case
            _, last = yield from self._body(self._plan.final.number, last)
        if held is not None:
            held[0].release(held[1])
        return failed, last

    def _body(self, body: int, cause: Bar | None) -> Events:
        """The steps of a body once; whether a failure was left, and what ended last."""
        going: dict[int, simpy.Process] = {}
        for step in self._scenario.bodies[body]:
            going[step.id] = self.env.process(self._step(step, cause, going))
        yield self.env.all_of(going.values())
        ends = _ends(going)
        bars = [end.bar for end in ends.values() if end.bar is not None]
        lost = any(
            end.state is State.FAILED and not any(ends[taker].state in _RAN for taker in self._takers(node))
            for node, end in ends.items()
        )
        return lost, max(bars, key=lambda bar: bar.end, default=cause)

    def _takers(self, node: int) -> Iterator[int]:
        for follower in self._plan.steps[node].next:
            if follower > 0 and any(_takes_failure(edge, node) for edge in self._plan.steps[follower].needs):
                yield follower

    # -- steps ----------------------------------------------------------------------------------------------------

    def _step(self, step: PlanStep, cause: Bar | None, going: Mapping[int, simpy.Process]) -> Events:
        yield self.env.timeout(0)  # until all steps of the body are there
        ends: Mapping[int, _End] = {}
        if step.needs:
            yield self.env.all_of([going[edge.step] for edge in step.needs])
            ends = _ends({edge.step: going[edge.step] for edge in step.needs})
            bars = [end.bar for end in ends.values()]
            cause = max((bar for bar in bars if bar is not None), key=lambda bar: bar.end, default=cause)
        if self.stopping:
            return _End(State.CANCELLED, cause)
        if any(ends[edge.step].state not in edge.on for edge in step.needs):
            return _End(State.OMITTED, cause)
        known = self._scenario.given.expected.get(self._paths[step.id], Expected())
        handles = any(State.SUCCEEDED not in edge.on for edge in step.needs)
        if not handles and self._chance.random() < known.skipped:
            return _End(State.SKIPPED, cause)
        if step.pure:
            return _End(State.FAILED if step.kind == "fail" else State.SUCCEEDED, cause)
        if step.opens is not None:
            failed, cause = yield from self._open(step, known, cause)
        else:
            failed, cause = yield from self._attempts(step, known, cause)
        if failed and step.fatal and not any(True for _ in self._takers(step.id)):
            self.failing = True
        return _End(State.FAILED if failed else State.SUCCEEDED, cause)

    def _attempts(self, step: PlanStep, known: Expected, cause: Bar | None) -> Events:
        """As many as it takes; whether the last one failed, and what ended last."""
        bar, spread = None, known.took or spread_of(step, known)
        if step.id not in self._scenario.children:
            bar = Bar(self._paths[step.id], self._number, self.env.now, self.env.now, self.env.now, cause)
            self.trial.bars.append(bar)
        retry = step.retry
        for tried in range(retry.max + 1):
            held = yield from self._admitted(step)
            if bar is None:
                failed, cause = yield from self._child(step, cause)
            else:
                assert spread is not None  # noqa: S101 (what is missing was said before)
                if not tried:
                    bar.begun = self.env.now
                failed = yield from self._work(step, spread)
                bar.end = self.env.now
            for resource, request in held:
                resource.release(request)
            if not failed and self._chance.random() >= known.fails:
                return False, bar or cause
            if tried < retry.max:
                delay = min(retry.initial * retry.factor ** min(tried, 64), retry.max_delay)
                yield self.env.timeout(delay * (self._chance.random() if retry.full_jitter else 1.0))
        return True, bar or cause

    def _work(self, step: PlanStep, spread: Spread) -> Events:
        """One attempt; whether it took longer than it may."""
        seconds = spread.quantile(min(max(self._chance.random(), 1e-9), 1 - 1e-9))
        late = step.timeout is not None and seconds > step.timeout
        yield self.env.timeout(min(seconds, step.timeout) if step.timeout is not None else seconds)
        return late

    def _child(self, step: PlanStep, cause: Bar | None) -> Events:
        """A run that the step starts and waits for; whether it failed, and what ended last. A timeout stops it."""
        scenario = self._scenario.children[step.id]
        run = _Run(self._world, scenario, self._number, self)
        limit, began = time_of(step.timeout, scenario.plan.timeout), self.env.now
        going = self.env.process(run.through(cause))
        yield going if limit is None else going | self.env.timeout(limit)
        if going.processed:
            return going.value
        run.failing = True
        bar = Bar(self._paths[step.id], self._number, began, began, self.env.now, cause)
        self.trial.bars.append(bar)
        return True, bar

    def _open(self, step: PlanStep, known: Expected, cause: Bar | None) -> Events:
        match step.opens:
            case Fan() as opens:
                count = self._scenario.counts.get(step.id, times_of(opens, known)) or 0.0
                return (yield from self._fan(opens, self._rounded(count), cause))
            case Loop() as opens:
                for time in range(self._rounded(times_of(opens, known) or 1.0)):
                    if time:
                        yield self.env.timeout(opens.delay)
                    failed, cause = yield from self._body(opens.body, cause)
                    if failed:
                        return True, cause
                return False, cause
            case Choice() as opens:
                numbers = [number for _, number in opens.cases]
                (number,) = self._chance.choices(numbers, shares_of_cases(opens, known))
                return (yield from self._body(number, cause))
            case Group() as opens:
                return (yield from self._body(opens.body, cause))
        raise AssertionError(step.opens)

    def _fan(self, fan: Fan, count: int, cause: Bar | None) -> Events:
        left, failures, last = iter(range(count)), [0], [cause]

        def worker() -> Events:
            before = cause
            for _ in left:
                if self.stopping or not fan.tolerance.takes(failures[0], count):
                    return
                failed, before = yield from self._body(fan.body, before)
                failures[0] += failed
                if before is not None and (last[0] is None or before.end >= last[0].end):
                    last[0] = before

        yield self.env.all_of([self.env.process(worker()) for _ in range(min(fan.parallel, count))])
        return not fan.tolerance.takes(failures[0], count), last[0]

    # -- what holds back ------------------------------------------------------------------------------------------

    def _admitted(self, step: PlanStep) -> Events:
        """What the attempt holds when it may begin."""
        held = []
        own = self._paths[step.id]
        restraint = step.restraint
        if restraint is not None and restraint.slots is not None:
            slots: Slots = restraint.slots
            held.append((yield from self._acquire(Limit("concurrency", self._key(slots.key, own)), slots.limit)))
        if restraint is not None and restraint.rate is not None:
            yield from self._start_counted(restraint.rate, self._key(restraint.rate.key, own))
        if step.kind not in _PARKED and step.pool in self._scenario.given.slots:
            held.append((yield from self._acquire(Limit("pool", step.pool), self._scenario.given.slots[step.pool])))
        return held

    def _acquire(self, limit: Limit, capacity: int) -> Events:
        if limit not in self._world.resources:
            self._world.resources[limit] = simpy.Resource(self.env, capacity)
        resource, asked = self._world.resources[limit], self.env.now
        request = resource.request()
        yield request
        self.trial.waits[limit].append(self.env.now - asked)
        return resource, request

    def _start_counted(self, rate: Rate, key: str) -> Events:
        asked, due = self.env.now, None
        while True:
            known = self._world.buckets.get(key, Bucket(0.0, 0.0))
            self._world.buckets[key], answer = turn(known, rate.interval, rate.burst, self.env.now, due)
            due = answer.due
            yield self.env.timeout(max(answer.due - self.env.now, 0.0))
            if answer.counted:
                self.trial.waits[Limit("rateLimit", key)].append(self.env.now - asked)
                return

    def _key(self, key: Template | None, own: str) -> str:
        """The text of a key; one that reads results is taken to be the same for all, which is the worst case."""
        if key is None:
            return own
        if key.variables <= self._scenario.bound.keys():
            try:
                return as_text(key.evaluate(self._scenario.bound))
            except ExpressionError:
                return own
        return own

    def _rounded(self, number: float) -> int:
        """A whole number near it, by chance the next one, so that the mean is kept."""
        return int(number) + (self._chance.random() < number % 1)


def _ends(going: Mapping[int, simpy.Process]) -> dict[int, _End]:
    """How processes of steps, which are over, have ended."""
    ends: dict[int, Any] = {node: process.value for node, process in going.items()}
    return ends


def _takes_failure(edge: Edge, node: int) -> bool:
    return edge.step == node and State.FAILED in edge.on
