"""Runs whose Workflow is not there yet: GitOps tools apply resources in any order. Pure but for its memory."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from leat_operator.admit import created_at, generation
from leat_operator.objects import Ref

_LONGEST_LOOK = 3600.0


class WaitingRoom:
    """Resources by the Workflow that they wait for, each until ``grace`` seconds after its creation."""

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self._bodies: dict[str, Mapping[str, Any]] = {}
        self._by_workflow: dict[tuple[str, str], set[str]] = {}

    def enter(self, ref: Ref, workflow: str, body: Mapping[str, Any]) -> bool:
        """Let a run wait. Returns whether its resource, as it is now, has not been told so yet."""
        before, now = self._bodies.get(ref.uid), generation(body["metadata"])
        self._bodies[ref.uid] = body
        self._by_workflow.setdefault((ref.namespace, workflow), set()).add(ref.uid)
        if before is not None:
            return generation(before["metadata"]) < now
        status = body.get("status") or {}
        told = any(each.get("reason") == "WorkflowNotFound" for each in status.get("conditions", ()))
        return not told or status.get("observedGeneration") != now

    def leave(self, namespace: str, workflow: str) -> list[Mapping[str, Any]]:
        """The runs that waited for this Workflow."""
        uids = self._by_workflow.pop((namespace, workflow), set())
        return [self._bodies.pop(uid) for uid in uids]

    def forget(self, ref: Ref) -> None:
        """A waiting run was deleted."""
        if (body := self._bodies.pop(ref.uid, None)) is not None:
            key = ref.namespace, body["spec"]["workflow"]["name"]
            self._by_workflow[key].discard(ref.uid)
            if not self._by_workflow[key]:
                del self._by_workflow[key]

    def ended(self, now: datetime) -> Iterator[Mapping[str, Any]]:
        """Let those go whose grace is over."""
        limit = now - timedelta(seconds=self.grace)
        for uid in [uid for uid, body in self._bodies.items() if created_at(body["metadata"]) <= limit]:
            body = self._bodies[uid]
            metadata = body["metadata"]
            workflow = body["spec"]["workflow"]["name"]
            waiting = self._by_workflow[metadata["namespace"], workflow]
            waiting.discard(uid)
            if not waiting:
                del self._by_workflow[metadata["namespace"], workflow]
            del self._bodies[uid]
            yield body

    def next_end(self, now: datetime) -> float:
        """Seconds until the next grace is over; an hour when nobody waits."""
        oldest = min((created_at(body["metadata"]) for body in self._bodies.values()), default=None)
        if oldest is None:
            return _LONGEST_LOOK
        return min(max((oldest - now).total_seconds() + self.grace, 0.0), _LONGEST_LOOK)
