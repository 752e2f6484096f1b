"""Runs whose Workflow is not there yet, as GitOps tools apply resources in any order, or whose pool cannot run it yet.

Pure but for its memory.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from leat_engine.errors import Reason
from leat_engine.status import Status
from leat_operator.admit import created_at, generation
from leat_operator.objects import Ref

_LONGEST_LOOK = 3600.0


@dataclass(frozen=True, slots=True)
class Waiter:
    """What waits for its Workflow or, with reasons, for its pool. ``workflow``: "" when it brings its own."""

    body: Mapping[str, Any]
    workflow: str
    reasons: tuple[Reason, ...] = ()


class WaitingRoom:
    """Resources by the Workflow that they wait for, each until ``grace`` seconds after its creation."""

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self._waiters: dict[str, Waiter] = {}
        self._by_workflow: dict[tuple[str, str], set[str]] = {}

    def enter(self, ref: Ref, waiter: Waiter, status: Status) -> bool:
        """Let a run wait. Returns whether its resource, as it is now, has not been told ``status`` yet."""
        before, now = self._waiters.get(ref.uid), generation(waiter.body["metadata"])
        self._waiters[ref.uid] = waiter
        self._by_workflow.setdefault((ref.namespace, waiter.workflow), set()).add(ref.uid)
        if before is not None:
            return generation(before.body["metadata"]) < now or before.reasons != waiter.reasons
        shown = waiter.body.get("status") or {}
        return (shown.get("observedGeneration"), shown.get("message")) != (now, status["message"])

    def leave(self, namespace: str, workflow: str) -> list[Mapping[str, Any]]:
        """The runs that waited for this Workflow, or for its pool."""
        uids = self._by_workflow.pop((namespace, workflow), set())
        return [self._waiters.pop(uid).body for uid in uids]

    def leave_unable(self) -> list[Mapping[str, Any]]:
        """The runs that waited for a pool."""
        uids = [uid for uid, waiter in self._waiters.items() if waiter.reasons]
        return [self._remove(uid).body for uid in uids]

    def forget(self, ref: Ref) -> None:
        """A waiting run was deleted."""
        if ref.uid in self._waiters:
            self._remove(ref.uid)

    def ended(self, now: datetime) -> Iterator[Waiter]:
        """Let those go whose grace is over."""
        limit = now - timedelta(seconds=self.grace)
        for uid in [uid for uid, each in self._waiters.items() if created_at(each.body["metadata"]) <= limit]:
            yield self._remove(uid)

    def next_end(self, now: datetime) -> float:
        """Seconds until the next grace is over; an hour when nobody waits."""
        oldest = min((created_at(each.body["metadata"]) for each in self._waiters.values()), default=None)
        if oldest is None:
            return _LONGEST_LOOK
        return min(max((oldest - now).total_seconds() + self.grace, 0.0), _LONGEST_LOOK)

    def _remove(self, uid: str) -> Waiter:
        waiter = self._waiters.pop(uid)
        key = waiter.body["metadata"]["namespace"], waiter.workflow
        self._by_workflow[key].discard(uid)
        if not self._by_workflow[key]:
            del self._by_workflow[key]
        return waiter
