"""One attempt of one step: from the fields with their expressions to what the committer writes."""

import asyncio
import random
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import structlog
from prometheus_client import Counter
from pydantic import BaseModel, ValidationError

from leat_engine.commit import Ended, Late
from leat_engine.decide import admit, failed, succeeded
from leat_engine.errors import ExpressionError
from leat_engine.expression import SECRETS, Held
from leat_engine.job import StepKey, effect_key
from leat_engine.kind import (
    END_WORK,
    ArtifactProblem,
    Artifacts,
    Kind,
    Mail,
    NoArtifacts,
    NoFamily,
    StepContext,
    StepLog,
    outlives_runner,
)
from leat_engine.plan import END, PlanStep
from leat_engine.redaction import Redactor
from leat_engine.result import ErrorType, Failed, Outcome, Parked, Phase, Result, State, StepError, Succeeded
from leat_engine.retry import Failure, delay_before_next
from leat_engine.spec.parse import reasons
from leat_engine.view import RunView, flattened
from leat_runner.family import Family, Member
from leat_runner.forsake import forsake
from leat_runner.kinds.setup import Clock, utc_now
from leat_runner.logs import AttemptLog
from leat_runner.passage import Perform
from leat_runner.secrets import SecretError, SecretReader, holding, masked
from leat_runner.shelf import Shelf
from leat_runner.voice import Mask

MAX_LOST = 3
"""Runners that may die under a step before it counts as what kills them."""

log = structlog.get_logger()
POISONED = Counter("leat_steps_poisoned", "Steps that were given up because they took several runners with them")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A claimed step about to be executed.

    Attributes:
        broken_off: Earlier attempts that ended with their runner, and are not held against the step.
        lost: Of these, attempts whose runner died: a few of them are.
        taken_over: When an earlier runner began this try, whose work may have outlived it.
        logged_until: When the last line was said that the store has of work that outlived its runner.
        clock: Says what time it is; draw: a number from [0, 1), for the jitter of a retry. Where time is skipped, both
            are others.
    """

    view: RunView
    node: PlanStep
    number: int
    opened_at: datetime
    broken_off: int = 0
    lost: int = 0
    resumed: bool = False
    taken_over: datetime | None = None
    logged_until: datetime | None = None
    clock: Clock = utc_now
    draw: Callable[[], float] = random.random

    @property
    def key(self) -> StepKey:
        """The address of the step."""
        return StepKey(self.view.run_id, self.view.scope, self.node.id)


class Speech(Protocol):
    """What one attempt says and hears."""

    log_kept: AttemptLog | None

    @property
    def log(self) -> StepLog:
        """Takes its lines."""
        ...

    @property
    def note(self) -> Callable[[str], None]:
        """Takes what it waits for."""
        ...

    @property
    def mail(self) -> Mail:
        """What it hears."""
        ...


class Voices(Protocol):
    """Gives each attempt its speech."""

    def of(self, key: StepKey, name: str, attempt: int, mask: Mask | None) -> Speech:
        """The speech of an attempt of the step with this name."""
        ...


class Barriers(Protocol):
    """What holds runs and attempts back."""

    async def admit(self, attempt: Attempt) -> Outcome | None:
        """None when the run may go on."""
        ...

    async def around(self, attempt: Attempt, perform: Perform) -> Outcome:
        """Execute an attempt of a step that has limits or a cache, as soon as it may."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """What attempts are carried out with: in a runner, or where a run is only rehearsed, which starts no other ones.

    ``tenants``: namespaces whose steps are executed; all when empty.
    """

    kinds: Mapping[str, Kind]
    secrets: SecretReader
    voice: Voices
    gates: Barriers
    family: Family | None = None
    shelf: Shelf | None = None
    tenants: frozenset[str] = frozenset()


async def carry_out(attempt: Attempt, means: Means) -> Ended | Late:
    """Do the step, once, and tell what to write. Results that its expressions read are in the view."""
    view, node = attempt.view, attempt.node
    if view.halted:
        await forsake(view, node, means.kinds)
        if node.id > END:
            return _ended(attempt, cancelled(view))
    if attempt.lost >= MAX_LOST and not outlives_runner(means.kinds.get(node.kind)):
        POISONED.inc()
        message = f"{attempt.lost} runners died while they ran it; it is not tried again"
        return _ended(attempt, failed(StepError(ErrorType.RUNNER_LOST, message, retriable=False)))
    outcome = await means.gates.admit(attempt) if view.plan.slots is not None and node.id > END else None
    if view.halted and node.id > END:
        return _ended(attempt, cancelled(view))
    if outcome is None:
        result = admit(view, node, {}, attempt.clock())
        if result is not None:
            return _ended(attempt, result)
        perform = partial(_perform, means=means)
        outcome = await (perform(attempt) if node.restraint is None else means.gates.around(attempt, perform))
    return concluded(attempt, outcome)


def concluded(attempt: Attempt, outcome: Outcome) -> Ended | Late:
    """What to write of an attempt's outcome."""
    view, node = attempt.view, attempt.node
    match outcome:
        case Succeeded(output, artifacts):
            result = _bounded(output)
            return _ended(attempt, result if artifacts is None else replace(result, artifacts=artifacts))
        case Parked(until):
            seconds = max(0.0, (until - attempt.clock()).total_seconds())
            return Late(view, node.id, attempt.number, seconds)
        case Failed(error):
            return _again_or_over(attempt, error)


async def _perform(attempt: Attempt, means: Means) -> Outcome:
    node, now = attempt.node, attempt.clock()
    if means.tenants and attempt.view.namespace not in means.tenants:
        namespace = attempt.view.namespace
        message = (
            f"pool {node.pool!r} does not serve namespace {namespace!r}: name another pool, "
            f"or have {namespace!r} added to `namespaces` of the RunnerPool"
        )
        return Failed(StepError(ErrorType.FORBIDDEN, message, retriable=False))
    kind = means.kinds.get(node.kind)
    if kind is None:
        known = ", ".join(sorted(means.kinds))
        message = f"this pool cannot run kind '{node.kind}'; it has: {known}"
        return Failed(StepError(ErrorType.NOT_FOUND, message, retriable=False))
    seconds, what = _limit(attempt, now)
    trial = _Trial(attempt, kind, means, seconds, now)
    trying = trial.discreetly(means.secrets) if node.secrets else trial.plainly()
    if seconds is None:
        outcome = await trying
    else:
        try:
            with _within(seconds):
                outcome = await trying
        except _Late:
            said = node.timeout if what == "timeout" else node.deadline
            error = StepError(ErrorType.TIMEOUT, f"{what} of {said:g} s passed", retriable=what == "timeout")
            outcome = Failed(error)
    if attempt.taken_over is not None and not trial.begun:
        await forsake(attempt.view, node, means.kinds)  # the kind never heard of what it was to go on with
    return outcome


class _Trial:
    """The step's body, once. ``seconds`` is what it may take, which somebody else enforces.

    Attributes:
        begun: The kind has been asked to execute.
    """

    __slots__ = ("attempt", "begun", "kind", "means", "now", "seconds")

    def __init__(self, attempt: Attempt, kind: Kind, means: Means, seconds: float | None, now: datetime) -> None:
        self.attempt = attempt
        self.kind = kind
        self.means = means
        self.seconds = seconds
        self.now = now
        self.begun = False

    async def plainly(self) -> Outcome:
        """Evaluate the fields and execute."""
        try:
            fields = self._evaluated(None)
        except ExpressionError as error:
            return Failed(StepError(ErrorType.EXPRESSION, str(error), retriable=False))
        return await self._execute(fields, None)

    async def discreetly(self, secrets: SecretReader) -> Outcome:
        """The same with secrets: they are read first, and nothing of them comes out. The only place that masks."""
        try:
            held = Held(await secrets.read(self.attempt.view.namespace, self.attempt.node.secrets))
            fields = self._evaluated(held)
        except SecretError as error:
            return Failed(error.error)
        except ExpressionError as error:  # tells nothing of what an expression with a secret met
            return Failed(StepError(ErrorType.EXPRESSION, str(error), retriable=False))
        redactor = Redactor([*held.values.values(), *held.results])
        with holding(redactor):
            return masked(await self._execute(fields, redactor.text, redactor.forms), redactor)

    def _evaluated(self, held: Held | None) -> Any:
        view, node = self.attempt.view, self.attempt.node
        bound = {} if node.fields.constant else view.bindings(node.reads, {}, self.now)
        return node.fields.evaluate(bound if held is None else {**bound, SECRETS: held})

    async def _execute(self, fields: Any, mask: Mask | None, secrets: Collection[str] = ()) -> Outcome:
        attempt = self.attempt
        words = self.means.voice.of(attempt.key, attempt.node.name, attempt.number, mask)
        artifacts = None if self.means.shelf is None else self.means.shelf.of(attempt, secrets)
        try:
            model = self._checked(fields)
            if isinstance(model, Failed):
                return model
            self.begun = True
            outcome = await self.kind.execute(self._context(words, artifacts or NoArtifacts()), model)
            return outcome if artifacts is None else await artifacts.kept(outcome)
        except ArtifactProblem as problem:
            return Failed(problem.error)
        except Exception as error:
            log.exception("step_defect")
            tail = traceback.format_exception_only(error)[-1].strip()
            return Failed(StepError(ErrorType.INTERNAL, tail))
        finally:
            if artifacts is not None:
                await artifacts.close()
            if words.log_kept is not None:
                await words.log_kept.close()

    def _checked(self, fields: Any) -> BaseModel | Failed:
        node = self.attempt.node
        try:
            return node.model.model_validate(fields)
        except ValidationError as error:
            return Failed(StepError(ErrorType.INVALID, _readable(error, node), retriable=False))

    def _context(self, words: Speech, artifacts: Artifacts) -> StepContext:
        attempt, view, key = self.attempt, self.attempt.view, self.attempt.key
        return StepContext(
            key=key,
            name=attempt.node.name,
            attempt=attempt.number,
            namespace=view.namespace,
            run_name=view.name,
            workflow=view.workflow,
            idempotency_key=effect_key(key),
            resumed=attempt.resumed,
            timeout=self.seconds,
            traceparent=view.traceparent,
            try_number=attempt.number - attempt.broken_off,
            run_uid=view.uid,
            log=words.log,
            taken_over=attempt.taken_over,
            logged_until=attempt.logged_until,
            note=words.note,
            mail=words.mail,
            artifacts=artifacts,
            family=NoFamily() if self.means.family is None else Member(self.means.family, attempt, self.seconds),
        )


class _Late(Exception):
    """The attempt took longer than it may."""


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """`asyncio.timeout`, with a cancel that tells the kind to end its work; raises `_Late`."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  we run in one
    before, passed = task.cancelling(), False

    def cut() -> None:
        nonlocal passed
        passed = True
        task.cancel(END_WORK)

    timer = asyncio.get_running_loop().call_later(seconds, cut)
    try:
        yield
    except asyncio.CancelledError as error:
        if passed and task.uncancel() <= before:
            raise _Late from error
        raise
    finally:
        timer.cancel()


def _limit(attempt: Attempt, now: datetime) -> tuple[float | None, str]:
    """Seconds that the attempt may take, and which of the two limits that is."""
    node = attempt.node
    if node.deadline is not None:
        left = max(0.0, node.deadline - (now - attempt.opened_at).total_seconds())
        if node.timeout is None or left < node.timeout:
            return left, "deadline"
    return node.timeout, "timeout"


def _again_or_over(attempt: Attempt, error: StepError) -> Ended | Late:
    view, node = attempt.view, attempt.node
    elapsed = (attempt.clock() - attempt.opened_at).total_seconds()
    if node.deadline is not None and elapsed >= node.deadline:
        return _ended(attempt, failed(error))
    try:
        wanted = _wanted(attempt, error)
    except ExpressionError as problem:
        message = f"{problem}; while looking at: {error.message}"
        return _ended(attempt, failed(StepError(ErrorType.EXPRESSION, message, retriable=False)))
    failure = Failure(error, attempt.number - attempt.broken_off, elapsed)
    delay = delay_before_next(node.retry, failure, wanted=wanted, random=attempt.draw())
    if delay is None:
        return _ended(attempt, failed(error))
    if error.type == ErrorType.BREAKER_OPEN:
        delay = max(delay, error.details["retryAfter"])  # an attempt before that would be wasted
    log.info("step_retry", delay=delay, error=error.type)
    return Late(view, node.id, attempt.number, delay, error.as_json())


def _wanted(attempt: Attempt, error: StepError) -> bool:
    when = attempt.node.retry.when
    if when is None:
        return True
    bound = attempt.view.bindings(attempt.node.reads, {}, attempt.clock())
    return bool(when.evaluate({**bound, "error": flattened(error.as_json())}))


def _bounded(output: object) -> Result:
    try:
        return succeeded(output)
    except TypeError as error:
        message = f"the output is not a JSON value: {error}"
        return failed(StepError(ErrorType.INVALID, message, retriable=False))


def cancelled(view: RunView) -> Result:
    """The end of a step whose run is stopped, or that is in a body which takes too long."""
    why = "the run was cancelled" if view.stopping is Phase.CANCELLED else "the run was stopped"
    if view.stopping is None:
        why = "the body that it is in took too long"
    return Result(State.CANCELLED, error=StepError(ErrorType.CANCELLED, why, retriable=False).as_json())


def _ended(attempt: Attempt, result: Result) -> Ended:
    return Ended(attempt.view, attempt.node.id, attempt.number, result)


def _readable(error: ValidationError, node: PlanStep) -> str:
    """What is wrong with the fields of a kind. Their values are not shown: anything may be in them."""
    details = error.errors(include_url=False, include_input=False)
    return "; ".join(map(str, reasons(details, node.model, f"{node.path}.{node.kind}")))
