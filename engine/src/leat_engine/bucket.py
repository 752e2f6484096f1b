"""A token bucket by its two clocks. Pure; the store keeps a bucket's row locked between the question and the answer.

The algorithm is GCRA (ITU-T I.371, annex A), twice. ``line`` says when the next one in the line is due, so that those
who wait are served in order, each knowing its time. ``spent`` counts the starts themselves: who is woken late, after an
outage perhaps, cannot start together with all others that are. The law: in any time of ``w`` seconds there are at most
``burst + w / interval`` starts, by the database's clock.
"""

from dataclasses import dataclass

BRIEF = 1.0
"""Seconds that an attempt waits in its runner, its start being counted already; a longer wait takes no slot."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Times in seconds: from when on the bucket would be full again, after all in the line and after all starts."""

    line: float
    spent: float


@dataclass(frozen=True, slots=True)
class Turn:
    """When an attempt may start.

    Attributes:
        due: The time.
        counted: The start is counted: it happens at ``due``, without another question.
    """

    due: float
    counted: bool


def turn(bucket: Bucket, interval: float, burst: int, now: float, due: float | None) -> tuple[Bucket, Turn]:
    """Ask for a start, or come back when it is ``due``; the bucket afterwards, and the answer."""
    room = burst * interval
    if due is None:
        bucket, due = _in_line(bucket, interval, room, now)
    if due > now:
        return bucket, Turn(due, counted=False)
    spent = max(now, bucket.spent) + interval
    start = max(now, spent - room)
    if start - now <= BRIEF:
        return Bucket(max(bucket.line, spent), spent), Turn(start, counted=True)
    bucket, due = _in_line(bucket, interval, room, now)
    return bucket, Turn(due, counted=False)


def _in_line(bucket: Bucket, interval: float, room: float, now: float) -> tuple[Bucket, float]:
    line = max(now, bucket.line, bucket.spent) + interval
    return Bucket(line, bucket.spent), max(now, line - room)
