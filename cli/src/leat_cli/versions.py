"""Revisions that a workflow has had, as `leat revisions` shows them. Pure."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from leat_cli.output import Format, dump
from leat_cli.readapi import moment
from leat_cli.snapshot import rfc3339


@dataclass(frozen=True, slots=True)
class RevisionSnapshot:
    """One of them.

    Attributes:
        since: When it was applied first; when its first run began, if nobody applied it.
        returned: When it was applied last, if another one had been there in between.
        active: Runs that have it and are not over; finished: that are.
    """

    revision: str
    since: datetime | None
    returned: datetime | None
    active: int
    finished: int

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "RevisionSnapshot":
        """Return an item of a `WorkflowRevisions`."""
        since, returned = moment(found.get("since")), moment(found.get("returnedAt"))
        return cls(found["revision"], since, returned, found.get("active") or 0, found.get("finished") or 0)

    def as_json(self) -> dict[str, Any]:
        """Return it as `leat revisions -o json` prints it."""
        when = {"since": rfc3339(self.since), "returnedAt": rfc3339(self.returned)}
        return {"revision": self.revision, **when, "active": self.active, "finished": self.finished}


def difference(one: tuple[str, Mapping[str, Any]], other: tuple[str, Mapping[str, Any]]) -> list[str]:
    """Return the lines of a unified diff of two specs as YAML, none when they are the same; each a name and a spec."""
    before, after = (dump(spec, Format.YAML).splitlines() for _, spec in (one, other))
    return list(difflib.unified_diff(before, after, one[0], other[0], lineterm=""))
