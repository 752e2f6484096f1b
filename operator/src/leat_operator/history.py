"""Which finished resources are to go, and when. Pure but for its memory: the time is an argument, in Unix seconds.

Two rules, and each is enough by itself: a resource goes when its time after the end is over, and when there are as many
newer ones of the same kind of end as its Workflow keeps. What no rule speaks of is not remembered at all.
"""

import heapq
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from leat_engine.result import Phase
from leat_engine.spec import History
from leat_operator.objects import RUNS, Ref

_DONE = {phase.label: phase for phase in Phase if phase.done}
_NO_RULE = History()

Group = tuple[str, str]
"""Namespace and name of a Workflow; the name is empty for runs that brought their own."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A WorkflowRun that is over.

    Attributes:
        at: When it ended.
        ttl: Seconds after that when it goes, as far as it says so itself.
    """

    ref: Ref
    workflow: str
    succeeded: bool
    at: float
    ttl: float | None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self | None:
        """The resource as the API server shows it; None when it is not over, or is being deleted."""
        metadata, spec, status = body["metadata"], body["spec"], body.get("status") or {}
        phase = _DONE.get(status.get("phase", ""))
        if phase is None or metadata.get("deletionTimestamp"):
            return None
        ended = status.get("finishedAt") or metadata["creationTimestamp"]
        return cls(
            ref=Ref.of(RUNS, body),
            workflow=(spec.get("workflow") or {}).get("name", ""),
            succeeded=phase is Phase.SUCCEEDED,
            at=datetime.fromisoformat(ended).timestamp(),
            ttl=spec.get("ttlSecondsAfterFinished"),
        )

    @property
    def group(self) -> Group:
        """Whose history it belongs to."""
        return self.ref.namespace, self.workflow

    def expiry(self, rule: History) -> float | None:
        """When it goes by its time; its own word is stronger than the Workflow's."""
        ttl = rule.ttl_seconds_after_finished if self.ttl is None else self.ttl
        return None if ttl is None else self.at + ttl


class Order:
    """Uids by a moment, the earliest first."""

    def __init__(self) -> None:
        self._moments: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._moments)

    def put(self, uid: str, moment: float) -> None:
        """Add one, or give it another moment."""
        self._moments[uid] = moment
        heapq.heappush(self._heap, (moment, uid))
        if len(self._heap) > 2 * len(self._moments) + 16:  # most entries are of what was discarded
            self._heap = [(moment, uid) for uid, moment in self._moments.items()]
            heapq.heapify(self._heap)

    def discard(self, uid: str) -> None:
        """Take one out, if it is in."""
        self._moments.pop(uid, None)

    def first(self) -> tuple[float, str] | None:
        """The earliest moment and its uid."""
        while self._heap:
            moment, uid = self._heap[0]
            if self._moments.get(uid) == moment:
                return moment, uid
            heapq.heappop(self._heap)
        return None


class Agenda:
    """Finished resources that a rule speaks of, in the order in which they are to go."""

    def __init__(self) -> None:
        self._rules: dict[Group, History] = {}
        self._runs: dict[str, Finished] = {}
        self._groups: dict[Group, set[str]] = {}
        self._kept: dict[tuple[Group, bool], Order] = {}
        self._surplus: dict[str, None] = {}
        self._expiring = Order()

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, uid: str) -> bool:
        return uid in self._runs

    def rule(self, namespace: str, workflow: str, history: History | None) -> bool:
        """What a Workflow says now. Returns whether there may be resources that nobody has put in because of it."""
        group, rule = (namespace, workflow), history or _NO_RULE
        before = self._rules.get(group, _NO_RULE)
        if rule == before:
            return False
        if rule == _NO_RULE:
            del self._rules[group]
        else:
            self._rules[group] = rule
        for run in [self._runs[uid] for uid in self._groups.get(group, ())]:
            self.drop(run.ref.uid)
            self.put(run)
        return rule != _NO_RULE

    def put(self, run: Finished) -> None:
        """Remember a finished resource, as it is now."""
        uid, rule = run.ref.uid, self._rules.get(run.group, _NO_RULE)
        if self._runs.get(uid) == run:
            return
        self.drop(uid)
        limit, expiry = _limit(rule, run), run.expiry(rule)
        if limit is None and expiry is None:
            return
        self._runs[uid] = run
        self._groups.setdefault(run.group, set()).add(uid)
        if expiry is not None:
            self._expiring.put(uid, expiry)
        if limit is not None:
            kept = self._kept.setdefault((run.group, run.succeeded), Order())
            kept.put(uid, run.at)
            while len(kept) > limit and (oldest := kept.first()) is not None:
                kept.discard(oldest[1])
                self._surplus[oldest[1]] = None

    def drop(self, uid: str) -> None:
        """Forget a resource: it is gone, or goes now."""
        run = self._runs.pop(uid, None)
        if run is None:
            return
        self._surplus.pop(uid, None)
        self._expiring.discard(uid)
        group = self._groups[run.group]
        group.discard(uid)
        if not group:
            del self._groups[run.group]
        key = run.group, run.succeeded
        if (kept := self._kept.get(key)) is not None:
            kept.discard(uid)
            if not kept:
                del self._kept[key]

    def known(self) -> frozenset[str]:
        """The uids of all that is remembered."""
        return frozenset(self._runs)

    def retain(self, before: Iterable[str], present: Container[str]) -> None:
        """Forget those of ``before`` that are not ``present``: somebody else has deleted them."""
        for uid in before:
            if uid not in present:
                self.drop(uid)

    def take(self, now: float, limit: int) -> list[Finished]:
        """Up to ``limit`` resources that are to go now. They are forgotten; whoever cannot delete one puts it back."""
        taken: list[Finished] = []
        while len(taken) < limit and (uid := self._first(now)) is not None:
            taken.append(self._runs[uid])
            self.drop(uid)
        return taken

    def is_due(self, run: Finished, now: float) -> bool:
        """Whether the time of a resource is over, as it is now."""
        expiry = run.expiry(self._rules.get(run.group, _NO_RULE))
        return expiry is not None and expiry <= now

    def next_due(self, now: float) -> float | None:
        """Seconds until something is to go, or None when nothing ever is, as far as is known."""
        if self._surplus:
            return 0.0
        first = self._expiring.first()
        return None if first is None else max(first[0] - now, 0.0)

    def _first(self, now: float) -> str | None:
        if self._surplus:
            return next(iter(self._surplus))
        first = self._expiring.first()
        return first[1] if first is not None and first[0] <= now else None


def _limit(rule: History, run: Finished) -> int | None:
    """How many of its kind are kept. Runs that brought their own workflow belong to none."""
    if not run.workflow:
        return None
    return rule.succeeded if run.succeeded else rule.failed
