"""What somebody outside tells a run, and what the steps that wait for it make of that. Pure.

A step that waits is a row of its own in the store, which says what it takes. What is sent meets these rows under the
lock of the run: a payload is kept until a step takes it, a vote is given to the one step that it is meant for.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from leat_engine import limits
from leat_engine.job import StepKey, dumps
from leat_engine.spec.inputs import validator_of
from leat_engine.spec.path import field_path

FOREVER = 100 * 366 * 86_400.0
"""Seconds until the timer of a wait without a timeout: every step that waits has one, so that a stop finds it."""

SCHEMA, USERS, GROUPS = "schema", "users", "groups"
"""Keys of a wait's rule."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What somebody tells a run.

    Attributes:
        id: Chosen by the sender, such as the uid of a resource: the same one twice is told once.
        name: Of the signal or the approval; "" with a vote means the one that is waited for.
        approve: Of a vote; None of a payload.
        by: Who says so, as far as that is known; groups: of which this one is a member.
        at: When it entered the store; None before.
    """

    id: str
    name: str
    payload: Any = None
    approve: bool | None = None
    comment: str = ""
    by: str = ""
    groups: tuple[str, ...] = ()
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a step waits for.

    Attributes:
        rule: What is taken: `schema` of a payload; `users` and `groups` that may vote.
        seconds: Until the wait ends anyway, from when it began; None: never.
        note: Tells people what is waited for.
    """

    name: str
    approval: bool
    rule: Mapping[str, Any]
    seconds: float | None
    note: str


@dataclass(frozen=True, slots=True)
class Heard:
    """What a step that waits was told so far, in the order in which it came.

    Attributes:
        over: The wait has ended: nothing more comes.
        seconds: Until it ends anyway.
    """

    signals: tuple[Signal, ...] = ()
    over: bool = False
    seconds: float = FOREVER


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step that waits, as the store knows it."""

    key: StepKey
    name: str
    approval: bool
    rule: Mapping[str, Any]


class Fate(StrEnum):
    """What became of a signal."""

    DELIVERED = "delivered"  # the run has it, or had it before
    EARLY = "early"  # there is no such run yet; it may be sent again
    REFUSED = "refused"  # it will never be taken


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a signal, and why. ``key``: the step that a vote is given to."""

    fate: Fate
    message: str
    key: StepKey | None = None
    name: str = ""


def oversized(signal: Signal) -> str | None:
    """Why a signal is too large to be sent, or None."""
    size = len(dumps(signal.payload))
    if size > limits.SIGNAL_BYTES:
        return f"the payload is {size} bytes of JSON; a signal takes {limits.SIGNAL_BYTES}"
    if len(signal.name) > limits.SIGNAL_NAME_CHARS:
        return f"the name has {len(signal.name)} characters; a signal's has at most {limits.SIGNAL_NAME_CHARS}"
    if len(signal.comment) > limits.COMMENT_CHARS:
        return f"the comment has {len(signal.comment)} characters; it takes {limits.COMMENT_CHARS}"
    return None


def judge(signal: Signal, waiting: Sequence[Waiting], unread: int) -> Delivery:
    """What becomes of a signal for a run that goes on, with steps that wait and ``unread`` payloads that it keeps."""
    if signal.approve is not None:
        return _judge_vote(signal, [each for each in waiting if each.approval])
    if unread >= limits.SIGNALS_UNREAD:
        return Delivery(Fate.REFUSED, f"{unread} signals of the run have not been taken yet; it keeps no more")
    rules = [each.rule for each in waiting if not each.approval and each.name == signal.name]
    problems = [problem for rule in rules if (problem := payload_problem(signal.payload, rule))]
    if rules and len(problems) == len(rules):
        return Delivery(Fate.REFUSED, problems[0])
    taken = "taken" if rules else "kept until a step waits for it"
    return Delivery(Fate.DELIVERED, f"signal {signal.name!r} was {taken}", name=signal.name)


def _judge_vote(signal: Signal, waiting: Sequence[Waiting]) -> Delivery:
    meant = [each for each in waiting if signal.name in {"", each.name}]
    if not meant:
        names = ", ".join(sorted({each.name for each in waiting}))
        what = f"approval {signal.name!r}" if signal.name else "an approval"
        return Delivery(Fate.REFUSED, f"no step of the run waits for {what} now; it waits for: {names or 'none'}")
    if len(meant) > 1:
        names = ", ".join(sorted(each.name for each in meant))
        message = f"{len(meant)} steps wait for an approval ({names}): name the one that is meant"
        if signal.name:
            message = f"{len(meant)} steps wait for approval {signal.name!r}: give each a `name` of its own"
        return Delivery(Fate.REFUSED, message)
    (one,) = meant
    if not may_vote(signal, one.rule):
        who = signal.by or "somebody whose identity is not known"
        return Delivery(Fate.REFUSED, f"{who} may not decide about {one.name!r}: {_voters(one.rule)} may")
    verb = "approved" if signal.approve else "rejected"
    return Delivery(Fate.DELIVERED, f"{one.name!r} was {verb} by {signal.by or 'somebody'}", one.key, one.name)


def payload_problem(payload: Any, rule: Mapping[str, Any]) -> str | None:
    """Why a step with this rule does not take a payload, or None."""
    schema = rule.get(SCHEMA)
    if schema is None:
        return None
    errors = validator_of(schema, masked=False).iter_errors(payload)
    return next((f"{field_path('payload', error.instance_path)}: {error.message}" for error in errors), None)


def may_vote(signal: Signal, rule: Mapping[str, Any]) -> bool:
    """Whether the sender is one of those who may decide. Who is not known counts as nobody."""
    users, groups = _names(rule, USERS), _names(rule, GROUPS)
    if not users and not groups:
        return True
    return bool(signal.by) and (signal.by in users or not groups.isdisjoint(signal.groups))


def _names(rule: Mapping[str, Any], key: str) -> frozenset[str]:
    found: Collection[str] = rule.get(key) or ()
    return frozenset(found)


def _voters(rule: Mapping[str, Any]) -> str:
    users, groups = sorted(_names(rule, USERS)), sorted(_names(rule, GROUPS))
    parts = [*users, *(f"members of {group}" for group in groups)]
    return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Tally:
    """Votes, counted. ``by``: who approved, each once, up to the vote that decided; ``rejected``: who rejected."""

    by: tuple[str, ...]
    comments: tuple[Mapping[str, str], ...]
    approved: bool
    rejected: Signal | None


def count(votes: Iterable[Signal], minimum: int) -> Tally:
    """Count votes in the order in which they came, up to the one that decides. What comes later changes nothing."""
    by: list[str] = []
    comments: list[Mapping[str, str]] = []
    for vote in votes:
        if vote.comment:
            comments.append({"by": vote.by, "comment": vote.comment})
        if vote.approve is False:
            return Tally(tuple(by), tuple(comments), approved=False, rejected=vote)
        if vote.by not in by:
            by.append(vote.by)
        if len(by) >= minimum:
            return Tally(tuple(by), tuple(comments), approved=True, rejected=None)
    return Tally(tuple(by), tuple(comments), approved=False, rejected=None)
