"""Records, and what is consumed, as values; known without the client."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Record:
    """A record. ``id`` is the same for each delivery of it, and no other record's."""

    id: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes | None]
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class Subscription:
    """What is consumed.

    Attributes:
        from_now: Where a group begins that has committed nothing: with what comes, or with what there is.
        prefetch: Records that are dealt with at the same time, at most.
        dead_letters: The topic that takes what is rejected; None to go on without it.
        origin: Headers that such a record gets.
    """

    topic: str
    group: str
    from_now: bool
    prefetch: int
    dead_letters: str | None = None
    origin: Mapping[str, str] | None = None
