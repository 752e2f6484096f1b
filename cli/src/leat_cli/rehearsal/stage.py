"""Plays runs. A stage keeps what a store would of one, and hands everything that has to be decided to the engine."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import structlog

from leat_cli.rehearsal.books import Books
from leat_cli.rehearsal.cast import Unanswered
from leat_cli.rehearsal.children import Tie
from leat_cli.rehearsal.company import Company, Surroundings
from leat_cli.rehearsal.memory import Memory
from leat_cli.rehearsal.post import PostOffice
from leat_cli.rehearsal.scene import Cue, Scene, meant, unsent
from leat_cli.rehearsal.score import Course, Score
from leat_cli.rehearsal.time import SkippingLoop, skipping
from leat_engine.cleanup import Clean, clean_up
from leat_engine.commit import Ended, Late, learn
from leat_engine.decide import Decision, End, Finished, decide, failed, settle
from leat_engine.errors import ExpressionError
from leat_engine.job import END, StepKey, uuid7
from leat_engine.kind import END_WORK
from leat_engine.opening import Opening
from leat_engine.records import Delayed, NewRun, Stop
from leat_engine.result import ErrorType, Phase, Result, State, StepError
from leat_engine.view import RunView
from leat_engine.waits import FOREVER, Fate, Signal, Waiting
from leat_runner.advance import advance
from leat_runner.attempt import Attempt, cancelled, carry_out

JITTER = 1.0
"""Delays of retries are as long as they may be, so that a rehearsed run always takes the same time."""

_TIMEOUT = StepError(ErrorType.TIMEOUT, "the run's timeout passed", "RunTimeout", retriable=False).as_json()
_CANCELLED = StepError(ErrorType.CANCELLED, "the run was cancelled", retriable=False).as_json()


def play(scene: Scene) -> Score:
    """Play a run to its end, or to where nothing goes on any more."""

    async def on(loop: SkippingLoop) -> Score:
        books = Books(loop, scene.order.callees, scene.cues)
        stage = Stage(scene, loop, books)
        try:
            return await stage.play()
        finally:
            await books.close()
            await scene.secrets.close()

    with _quiet():
        return skipping(on)


@contextmanager
def _quiet() -> Iterator[None]:
    """What a runner logs is for its operators; here it would stand among what tests and people say."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


@dataclass(frozen=True, slots=True)
class Birth:
    """A child run that is to be played.

    Attributes:
        timeout: Seconds, or None.
        hidden: Texts of its parent that are sensitive there.
        around: The course of the step that calls.
    """

    run: NewRun
    tie: Tie
    hidden: tuple[str, ...]
    around: Course


class Stage:
    """One run, in memory; with a ``birth``, a child of another one.

    Attributes:
        attempts: Those that are under way, or wait, by their steps.
        over: It has ended.
    """

    def __init__(self, scene: Scene, loop: SkippingLoop, books: Books, birth: Birth | None = None) -> None:
        self._scene, self._loop, self._books = scene, loop, books
        order, self._began = scene.order, loop.time()
        self.opened_at = self.clock()
        run_id = uuid7(self.opened_at, bytes(10)) if birth is None else birth.run.run_id
        priority = order.priority if birth is None else birth.run.priority
        self.root = RunView(
            run_id, order.plan, order.namespace, order.name, order.inputs, order.workflow, priority, complete=True
        )
        self._timeout = order.plan.timeout if birth is None else birth.run.timeout
        self.tie = None if birth is None else birth.tie
        if birth is not None:
            self.root.hidden, self.root.awaited = birth.hidden, birth.tie.awaited
        self.score = Score(order.plan, order.inputs, self.opened_at, None if birth is None else birth.around)
        self.attempts: dict[StepKey, Attempt] = {}
        self.over = False
        books.runs[run_id] = self
        self._tasks: dict[StepKey, asyncio.Task[Ended | Late | Opening]] = {}
        self._timers: dict[StepKey, tuple[asyncio.TimerHandle | None, Attempt]] = {}
        self._called: set[StepKey] = set()
        self._pending = 0
        self._memory = Memory(self._running)
        self._shut: list[StepKey] = []  # steps whose bodies took too long, until nothing runs inside any more
        self._office = PostOffice(self.clock, self.call, self._came)
        here = Surroundings(self.score, self.root, self._office, self.clock, self._abort, books)
        self._company = Company(scene, loop, here)

    def clock(self) -> datetime:
        """The time on stage."""
        return self._scene.started_at + timedelta(seconds=self._loop.time())

    async def play(self) -> Score:
        """Play the run."""
        try:
            self.begin()
            await self._books.closed
        finally:
            for run in self._books.runs.values():
                await run.close()
        if not self.over:
            self.score.seconds = round(self._loop.time(), 6)
        if not self.score.problems:
            self.score.problems += map(unsent, self._books.unsent)
        return self.score

    def begin(self) -> None:
        """Begin the run."""
        if self._timeout is not None:
            self._loop.call_later(self._timeout, partial(self._guarded, partial(self.stop, _timed_out())))
        for cue in self._scene.cues:
            if cue.after is not None:
                self._pending += 1
                self._loop.call_later(cue.after, partial(self._guarded, partial(self._cue, cue)))
        for node in self.root.plan.roots:
            self._begin(self._attempt_of(self.root, node))

    async def close(self) -> None:
        """End what still runs, and free what the kinds hold."""
        for task in self._tasks.values():
            task.cancel(END_WORK)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._company.close()

    # -- attempts -------------------------------------------------------------------------------------------------

    def _attempt_of(self, view: RunView, node: int) -> Attempt:
        return Attempt(view, view.plan.steps[node], 1, self.clock(), clock=self.clock, draw=lambda: JITTER)

    def _begin(self, attempt: Attempt) -> None:
        view, node = attempt.view, attempt.node
        view.live.add(node.id)
        self.attempts[attempt.key] = attempt
        self._called.discard(attempt.key)
        if node.id > END:
            course = self.score.course(view, node)
            course.attempts = attempt.number
            course.begun = self._loop.time() if course.begun is None else course.begun
        task = self._loop.create_task(self._attempt(attempt))
        self._tasks[attempt.key] = task
        task.add_done_callback(lambda done: self._guarded(partial(self._put, attempt, done)))

    async def _attempt(self, attempt: Attempt) -> Ended | Late | Opening:
        view, node = attempt.view, attempt.node
        try:
            if node.id > END:
                await self._scene.cast.before(attempt, self.score.course(view, node))
            if node.id == END and view.plan.cleans:
                return self._clean(attempt)
            return await (
                carry_out(attempt, self._company.means) if node.opens is None else advance(attempt, self._memory, {})
            )
        except ExpressionError as error:  # of a step around this one
            problem = failed(StepError(ErrorType.EXPRESSION, str(error), retriable=False))
            return Ended(view, node.id, attempt.number, problem)

    def _put(self, attempt: Attempt, task: "asyncio.Task[Ended | Late | Opening]") -> None:
        del self._tasks[attempt.key]
        if self.over:
            return
        view, node = attempt.view, attempt.node
        item = Ended(view, node.id, attempt.number, cancelled(view)) if task.cancelled() else task.result()
        if not isinstance(item, Ended) and view.halted:  # what is stopped, or shut, neither waits nor opens
            item = Ended(view, node.id, attempt.number, cancelled(view))
        match item:
            case Ended(result=result):
                del self.attempts[attempt.key]
                self._office.close(attempt.key)
                self._commit(view, Finished(node.id, attempt.number, result))
            case Late():
                self._delay(attempt, item)
            case Opening():
                self._open(attempt, item)
        self._go_on_with_shut()
        self._settle()

    # -- what a store does ----------------------------------------------------------------------------------------

    def _commit(self, view: RunView, done: Finished) -> None:
        decision = decide(view, [done], lambda _node: True, self.clock())
        learn(decision, stopping=None)
        self._write(decision)
        self._memory.note(view, done, decision.next)
        if decision.end is not None:
            self._end(decision.end)
            return
        if decision.stop is not None:
            self._halt()
        elif view.stopping is None:
            for new in decision.next:
                if new.state is State.CLAIMED and not new.missing:
                    self._begin(self._attempt_of(view, new.step))
        if decision.closes and view.parent is not None:
            self._arrive(view, view.parent)
            if not view.plan.undoing:  # else it may have something to undo
                view.close()
        if view.plan.steps[done.step].undoes:
            self._told(StepKey(view.run_id, self.root.scope, END), view, done.step)

    def _write(self, decision: Decision) -> None:
        view, now = decision.view, self._loop.time()
        results = [(done.step, done.result) for done in decision.finished]
        results += [(new.step, new.result) for new in decision.next if new.result is not None]
        for node, result in results:
            if node <= END:
                continue
            course = self.score.course(view, view.plan.steps[node])
            course.state, course.output, course.error, course.ended = result.state, result.output, result.error, now
            if course.begun is None and course.ran:
                course.begun, course.attempts = now, 1
            self._scene.cast.ended(view, course)

    def _arrive(self, view: RunView, around: RunView) -> None:
        """A scope is over: its opener goes on if that was the last one that it waited for."""
        body = view.plan.bodies[view.body]
        self._told(StepKey(around.run_id, around.scope, body.opener), view, body.result)

    def _told(self, opener: StepKey, view: RunView, node: int) -> None:
        if self._memory.arrive(opener, view.scope, node, view.results[node]):
            self._begin(self._memory.openers[opener])

    def _open(self, attempt: Attempt, opening: Opening) -> None:
        view, block = attempt.view, opening.open.block
        view.live.discard(attempt.node.id)
        if self._memory.is_shut(attempt.key):
            self._begin(attempt)  # it looks again, and learns of it
            return
        seconds = attempt.node.timeout
        if seconds is not None and not self._memory.has_opened(attempt.key):
            self._pending += 1
            self._loop.call_later(seconds, partial(self._guarded, partial(self._outlast, attempt)))
        del self.attempts[attempt.key]
        base, again = self._memory.open(replace(attempt, resumed=False), block)
        if (undo := opening.open.undo) is not None:
            self._begin(self._attempt_of(self.root.scopes[undo.scope], undo.step))
        body = view.plan.bodies[block.body]
        for index, names in opening.open.scopes.items():
            self.score.opened[block.body] = self.score.opened.get(block.body, 0) + 1
            inner = view.open(base + index, block.body, index, names)
            inner.complete = True
            for root in body.roots:
                self._begin(self._attempt_of(inner, root))
        if again:
            self._begin(self._memory.openers[attempt.key])

    def _outlast(self, opener: Attempt) -> None:
        """A body has had its time: nothing begins in it any more, and its step fails when nothing runs inside."""
        self._pending -= 1
        view, key = opener.view, opener.key
        if self.over or view.halted or opener.node.id in view.results:
            self._settle()
            return
        scopes = self._memory.shut(key)
        for scope in scopes & set(self.root.scopes):
            self.root.scopes[scope].shut = True
        for inside in [timed for timed in self._timers if timed.scope in scopes]:
            self._cancel(inside)
        for waiting, attempt in self._memory.openers.items():
            if waiting.scope in scopes and waiting.step not in attempt.view.results:
                self._never(attempt)
        for running, task in self._tasks.items():
            if running.scope in scopes and running.step > END:
                task.cancel(END_WORK)
        if key in self._timers:
            self._cancel(key)
        if key not in self._tasks:  # else it looks, and what it would open or wait for is refused
            self._shut.append(key)
        self._go_on_with_shut()
        self._settle()

    def _running(self, scopes: Collection[int]) -> int:
        """How many steps run in these scopes."""
        return sum(key.scope in scopes for key in self._tasks)

    def _go_on_with_shut(self) -> None:
        for key in [key for key in self._shut if not self._running(self._memory.within(key))]:
            self._shut.remove(key)
            if not self._memory.openers[key].view.halted:
                self._begin(self._memory.openers[key])

    def _clean(self, attempt: Attempt) -> Ended | Opening:
        """What the end of a run does that has something to clean up: settle how it ends, then one thing at a time."""
        view, memory = attempt.view, self._memory
        if memory.outcome is None:
            memory.settle(view, settle(view, {}, self.clock()))
        look = memory.look(view)
        view.settle(look.outcome, look.error)
        step = clean_up(view.plan, look)
        if isinstance(step, Clean):
            view.settle(step.phase, step.error)
            view.output = look.output
            return Ended(view, END, attempt.number, Result(State.SUCCEEDED))
        return Opening(view, END, attempt.number, step)

    def _delay(self, attempt: Attempt, late: Late) -> None:
        course = self.score.course(attempt.view, attempt.node)
        if late.error is None:
            again = replace(attempt, resumed=True)
            if attempt.key in self._called:  # it was told something before it had parked
                self._begin(again)
                return
        else:
            again = replace(attempt, number=attempt.number + 1, resumed=False)
            course.errors.append(late.error)
        self.attempts[attempt.key] = again
        self._scene.cast.delayed(course, late.seconds, late.error)
        seconds, timer = late.seconds, None
        if seconds < FOREVER / 2:
            timer = self._loop.call_later(seconds, partial(self._guarded, partial(self._wake, attempt.key)))
        self._timers[attempt.key] = (timer, again)
        self._company.parked(Delayed(attempt.key, again.number, seconds))

    def _wake(self, key: StepKey) -> None:
        timer, attempt = self._timers.pop(key)
        if timer is not None:
            timer.cancel()
        self._begin(attempt)

    def stop(self, stop: Stop) -> None:
        """End the run before its time."""
        if self.over or self.root.stopping is not None or self.root.outcome is not None:
            return
        self.root.stop(stop.phase, stop.error)
        self._halt()
        for key, task in self._tasks.items():
            if stop.interrupt and key.step > END:
                task.cancel(END_WORK)
        self._settle()

    def _halt(self) -> None:
        """What had not begun, or waits, never will."""
        for key in list(self._timers):
            self._cancel(key)

    def _cancel(self, key: StepKey) -> None:
        timer, attempt = self._timers.pop(key)
        if timer is not None:
            timer.cancel()
        self._never(attempt)

    def _never(self, attempt: Attempt) -> None:
        """It does not go on any more."""
        attempt.view.live.discard(attempt.node.id)
        self.attempts.pop(attempt.key, None)  # a step that waits for its scopes has none
        course = self.score.course(attempt.view, attempt.node)
        course.state, course.ended = State.CANCELLED, self._loop.time()

    def _settle(self) -> None:
        """Nothing is under way any more: the end of a stopped run is due, or it waits for somebody for ever."""
        if not self.over and not self._tasks and self.root.stopping is not None:
            self._begin(self._attempt_of(self.root, END))
        self._books.settle()

    @property
    def idle(self) -> bool:
        """Whether nothing goes on before somebody tells it something."""
        return not self._tasks and not self._pending and all(timer is None for timer, _ in self._timers.values())

    def _end(self, end: End) -> None:
        self.score.phase, self.score.output, self.score.error = end.phase, end.output, end.error
        self.score.seconds = round(self._loop.time() - self._began, 6)
        self.over = True
        self._company.left(self.root)

    # -- among others ---------------------------------------------------------------------------------------------

    @property
    def seconds_left(self) -> float | None:
        """Until its timeout, or None."""
        return None if self._timeout is None else self._timeout - (self._loop.time() - self._began)

    def parked(self) -> list[StepKey]:
        """Steps that wait."""
        return list(self._timers)

    def note(self, key: StepKey, text: str) -> None:
        """What a step waits for."""
        view = self.root.scopes[key.scope]
        self.score.course(view, view.plan.steps[key.step]).note = text

    def bear(self, run: NewRun, tie: Tie, hidden: tuple[str, ...]) -> None:
        """Begin a child of this run."""
        view = self.root.scopes[tie.step.scope]
        around = self.score.course(view, view.plan.steps[tie.step.step])
        order = self._books.children.order(run)
        child = Stage(
            replace(self._scene, order=order, cues=()), self._loop, self._books, Birth(run, tie, hidden, around)
        )
        self.score.children.append(child.score)
        child.begin()

    # -- from outside ---------------------------------------------------------------------------------------------

    def _cue(self, cue: Cue) -> None:
        self._pending -= 1
        if self.over:
            return
        self._books.unsent.remove(cue)
        if cue.signal is None:
            self.stop(Stop(Phase.CANCELLED, interrupt=True, error=_CANCELLED))
        else:
            for run in self._books.addressed(cue.signal) or [self]:
                run.send(cue.signal)
        self._settle()

    def send(self, signal: Signal) -> None:
        """Tell the run something; its name may have that of the step before it which started the run."""
        name = self.score.local(signal.name)
        delivery = self._office.send(signal if name is None else replace(signal, name=name))
        if delivery.fate is not Fate.DELIVERED:
            self._break_off(f"signal {signal.name or signal.id!r} was refused: {delivery.message}")

    def _came(self, waiting: Waiting, note: str) -> None:
        """A step begins to wait: what is to be sent then is sent, as soon as it has parked."""
        self.note(waiting.key, note)
        cues = self._books.cues
        sent = [cue for cue in cues if cue.signal is not None and self._meant(cue.signal, waiting)]
        for cue in sent if waiting.approval else sent[:1]:
            cues.remove(cue)
            self._pending += 1
            self._loop.call_soon(partial(self._guarded, partial(self._cue, cue)))

    def _meant(self, signal: Signal, waiting: Waiting) -> bool:
        name = self.score.local(signal.name)
        return name is not None and meant(replace(signal, name=name), waiting)

    def call(self, key: StepKey) -> None:
        """A step may go on."""
        if key in self._timers:
            self._wake(key)
        else:
            self._called.add(key)

    def _break_off(self, problem: str) -> None:
        self._books.first.score.problems.append(problem)
        self._books.break_off()

    def _abort(self, error: Exception) -> None:
        """There is no answer for a step: that is told, anything else is raised where the run is awaited."""
        if isinstance(error, Unanswered):
            self._break_off(str(error))
        else:
            self._books.fail(error)

    def _guarded(self, act: Callable[[], None]) -> None:
        """A defect here must not leave the run hanging."""
        try:
            act()
        except Exception as error:  # noqa: BLE001  it is raised where the run is awaited
            self._books.fail(error)


def _timed_out() -> Stop:
    return Stop(Phase.FAILED, interrupt=True, error=_TIMEOUT)
