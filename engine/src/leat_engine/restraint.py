"""What holds a step or a run back, compiled: limits by key; and the cache, which spares it.

Keys are evaluated when an attempt is about to begin. People see them, so `key_of` refuses one that holds a sensitive
input; `secret()` may not stand in them at all.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from leat_engine import limits
from leat_engine.errors import ExpressionError, Reason, Rejected
from leat_engine.expression import Names, Template, as_text, compile_template
from leat_engine.redaction import Redaction
from leat_engine.spec.duration import parse_duration
from leat_engine.spec.restraint import Breaker, Cache, Concurrency, RateLimit, RunConcurrency
from leat_engine.spec.workflow import Step

CACHED = "cached: taken from an earlier result"
"""The note of a step that was spared."""


@dataclass(frozen=True, slots=True)
class Slots:
    """A concurrency limit. ``conflict``: queue, reject or replace. A ``key`` of None is the default one."""

    key: Template | None
    limit: int
    conflict: str


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate limit: one start every ``interval`` seconds, ``burst`` of them at once."""

    key: Template | None
    interval: float
    burst: int


@dataclass(frozen=True, slots=True)
class Fuse:
    """A breaker: so many ``failures`` within ``window`` seconds open it for ``cool_down`` seconds."""

    key: Template | None
    failures: int
    window: float
    cool_down: float


@dataclass(frozen=True, slots=True)
class Kept:
    """Results are kept for ``ttl`` seconds."""

    key: Template
    ttl: float


@dataclass(frozen=True, slots=True)
class Restraint:
    """All that holds the attempts of a step back. A step without any has none of these."""

    slots: Slots | None = None
    rate: Rate | None = None
    fuse: Fuse | None = None
    cache: Kept | None = None

    @property
    def reads(self) -> frozenset[str]:
        """Names of the steps that its keys read."""
        return frozenset[str]().union(*(key.reads for key in self.keys))

    @property
    def keys(self) -> list[Template]:
        """The expressions of its keys."""
        keys = [part.key for part in (self.slots, self.rate, self.fuse, self.cache) if part is not None]
        return [key for key in keys if key is not None]


@dataclass(frozen=True, slots=True)
class ShownSlots:
    """A concurrency limit that is in use. ``oldest_seconds``: how old who waits longest is; ``holders``: ten runs."""

    namespace: str
    key: str
    capacity: int
    held: int
    waiting: int
    oldest_seconds: float | None
    holders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShownBucket:
    """A rate limit with starts to come: in ``seconds`` its bucket is full again if nobody asks."""

    namespace: str
    key: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ShownBreaker:
    """A breaker that has counted failures or is not closed. ``seconds``: until it may be tried."""

    namespace: str
    key: str
    state: str
    failures: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class ShownLimits:
    """All limits that hold something back now, or may soon."""

    slots: tuple[ShownSlots, ...]
    buckets: tuple[ShownBucket, ...]
    breakers: tuple[ShownBreaker, ...]


def compile_restraint(step: Step, path: str, names: Names, reasons: list[Reason]) -> Restraint | None:
    """The step's limits and cache; what is wrong is added to ``reasons``."""
    compiler = _Compiler(names, reasons)
    slots, rate, fuse, cache = step.concurrency, step.rate_limit, step.breaker, step.cache
    if not any((slots, rate, fuse, cache)):
        return None
    return Restraint(
        compiler.slots(slots, f"{path}.concurrency"),
        compiler.rate(rate, f"{path}.rateLimit"),
        compiler.fuse(fuse, f"{path}.breaker"),
        compiler.cache(cache, f"{path}.cache"),
    )


def compile_slots(written: RunConcurrency | None, path: str, names: Names, reasons: list[Reason]) -> Slots | None:
    """The limit of whole runs."""
    return _Compiler(names, reasons).slots(written, path)


def pure_problems(step: Step, kind: str, path: str) -> Iterator[Reason]:
    """Limits of a step that no runner executes, which hold nothing back."""
    for field in ("concurrency", "rate_limit", "breaker", "cache"):
        if getattr(step, field) is not None:
            name = Step.model_fields[field].alias
            yield Reason(f"{path}.{name}", f"a step of kind '{kind}' has no effects to limit or to spare: leave it out")


class KeyRefused(ExpressionError):
    """A key has no value that it can be."""


def key_of(template: Template | None, default: str, bound: Mapping[str, Any], redaction: Redaction) -> str:
    """The text of a key.

    Raises:
        ExpressionError: It has none, or one that may not be shown; the message begins with its field path.
    """
    if template is None:
        return default
    text = as_text(template.evaluate(bound))
    problem = _problem(text)
    if problem is None and redaction.text(text) != text:
        problem = "the key holds a sensitive input, and people see keys: take a value that is not sensitive"
    if problem is not None:
        path = next((f"{spot.path}: " for spot in template.expressions()), "")
        raise KeyRefused(path + problem)
    return text


def _problem(text: str) -> str | None:
    """Why a text cannot be a key."""
    if not text:
        return "the key is empty; expected text, a number or another value that tells what is limited"
    if len(text) > limits.KEY_CHARS:
        return f"the key has {len(text)} characters, the limit is {limits.KEY_CHARS}: take an id, or a hash"
    if "\0" in text:
        return "the key holds the character NUL; expected text"
    return None


@dataclass(frozen=True, slots=True)
class _Compiler:
    names: Names
    reasons: list[Reason]

    def key(self, text: str | None, path: str) -> Template | None:
        if text is None:
            return None
        try:
            template = compile_template(text, f"{path}.key", self.names)
        except Rejected as rejected:
            self.reasons.extend(rejected.reasons)
            return None
        if template.constant and (problem := _problem(text)) is not None:
            self.reasons.append(Reason(f"{path}.key", problem))
        return template

    def slots(self, written: Concurrency | RunConcurrency | None, path: str) -> Slots | None:
        return None if written is None else Slots(self.key(written.key, path), written.limit, written.on_conflict)

    def rate(self, written: RateLimit | None, path: str) -> Rate | None:
        if written is None:
            return None
        per = self.positive(written.per, f"{path}.per")
        return Rate(self.key(written.key, path), per / written.rate, written.burst)

    def fuse(self, written: Breaker | None, path: str) -> Fuse | None:
        if written is None:
            return None
        window = self.positive(written.window, f"{path}.window")
        cool_down = self.positive(written.cool_down, f"{path}.coolDown")
        return Fuse(self.key(written.key, path), written.failures, window, cool_down)

    def cache(self, written: Cache | None, path: str) -> Kept | None:
        if written is None:
            return None
        key, ttl = self.key(written.key, path), self.positive(written.ttl, f"{path}.ttl")
        return None if key is None else Kept(key, ttl)

    def positive(self, duration: str, path: str) -> float:
        seconds = parse_duration(duration)
        if seconds <= 0:
            self.reasons.append(Reason(path, f"found {duration!r}, expected more than no time"))
        return seconds
