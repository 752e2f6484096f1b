"""The moments of a cron schedule, and which of those that have passed are to be run. Pure: the time is an argument.

Cron is read as Debian's cron reads it. What that means where clocks change:

- A schedule of fixed times (neither minute nor hour begins with `*`) runs once for each of them: a time that the clock
  leaves out is run at the first moment after the gap, a time that the clock shows twice is run the first time.
- A schedule that recurs (`*/15 * * * *`, `0 * * * *`) goes by real time: nothing in the gap, and both of the hours that
  the clock shows twice.

Moments are in UTC: those of one zone would be compared by what the clock shows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from itertools import islice, takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
BATCH = 20
"""Moments that are made up for in one go."""

_SPANS = (timedelta(hours=1), timedelta(days=1), timedelta(days=32))


class OnMiss(StrEnum):
    """What becomes of moments at which nobody could start a run."""

    SKIP = "skip"  # the newest is run if it is not too late, the others are not
    CATCH_UP = "catchUp"  # all are run, the oldest first


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule. ``zone``: the time zone that its hours are of."""

    text: str
    zone: str

    @classmethod
    def parse(cls, text: str, zone: str = "UTC") -> "Cron":
        """Read a cron expression of five fields, or a nickname such as @daily.

        Raises:
            ValueError: It is none, or the zone is not known.
        """
        expression = NICKNAMES.get(text, text)
        if len(expression.split()) != 5:
            names = ", ".join(NICKNAMES)
            raise ValueError(
                f"found {text!r}, expected five fields (minute, hour, day of month, month, day of week), or one of "
                f"{names}"
            )
        cron = cls(expression, known_zone(zone))
        try:
            first = next(cron.after(datetime(2024, 1, 1, tzinfo=UTC)), None)
        except CronSimError as error:
            raise ValueError(f"found {text!r}: {str(error).replace('Bad', 'there is no such')}") from error
        if first is None:
            raise ValueError(f"found {text!r}, which never comes")
        return cron

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The moments after this one, ascending."""
        zone = UTC if self.zone == "UTC" else ZoneInfo(self.zone)
        for local in CronSim(self.text, moment.astimezone(zone)):
            found = local.astimezone(UTC)
            if found > moment:  # what the clock shows twice may lie behind: it begins by the clock, not by the moment
                moment = found
                yield found

    def next(self, moment: datetime) -> datetime | None:
        """The first moment after this one; None when there is none within 50 years."""
        return next(self.after(moment), None)


def known_zone(name: str) -> str:
    """The name of a time zone.

    Raises:
        ValueError: There is none of this name.
    """
    if name in available_timezones():
        return name
    close = get_close_matches(name, available_timezones(), n=1)
    raise ValueError(f"found {name!r}, expected a time zone such as {close[0] if close else 'Europe/Berlin'}")


def due(cron: Cron, last: datetime, now: datetime, limit: int | None = None) -> list[datetime]:
    """The moments after ``last``, up to and including ``now``, ascending; the first ``limit`` of them."""
    return list(islice(takewhile(lambda moment: moment <= now, cron.after(last)), limit))


def latest(cron: Cron, last: datetime, now: datetime) -> datetime | None:
    """The newest moment after ``last``, up to and including ``now``."""
    for span in _SPANS:  # however many there were, few are looked at
        start = max(last, now - span)
        if found := due(cron, start, now):
            return found[-1]
        if start == last:
            return None
    found = due(cron, last, now)
    return found[-1] if found else None


class TriggerKey(NamedTuple):
    """A schedule of a Workflow. Another Workflow of the same name has another ``uid``."""

    namespace: str
    workflow: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Settled:
    """How far a schedule is settled. ``fired_at``: the moment of its last run."""

    until: datetime
    fired_at: datetime | None


@dataclass(frozen=True, slots=True)
class Policy:
    """How a schedule is kept. ``deadline``: a moment that is older than this is not run."""

    cron: Cron
    on_miss: OnMiss
    deadline: timedelta | None
    suspended: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """What is to be done now: run these moments, in this order; then everything up to ``until`` is settled."""

    moments: tuple[datetime, ...]
    until: datetime


def turn(policy: Policy, settled: datetime, now: datetime) -> Turn:
    """What the moments after ``settled`` ask for."""
    if policy.suspended or now <= settled:
        return Turn((), max(settled, now))
    start = settled if policy.deadline is None else max(settled, now - policy.deadline)
    if policy.on_miss is OnMiss.SKIP:
        newest = latest(policy.cron, start, now)
        return Turn(() if newest is None else (newest,), now)
    moments = tuple(due(policy.cron, start, now, BATCH))
    return Turn(moments, moments[-1] if len(moments) == BATCH else now)
