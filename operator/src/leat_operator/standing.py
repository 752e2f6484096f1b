"""How Workflows stand: how many of their runs are active, and how the last one ended. Pure but for its memory.

It is fed by what the API server answers to our patches of runs, put right by each sweep, and written into a Workflow's
status now and then: a run by itself never costs a Workflow a write.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from leat_engine.result import Phase
from leat_operator.objects import RUNS, Ref

Key = tuple[str, str]
"""Namespace and name of a Workflow."""

_DONE = {phase.label for phase in Phase if phase.done}


@dataclass(slots=True)
class _Account:
    """What is known of one Workflow. ``shown``: its status as it was seen last.

    ``triggers``: how they stand, by name; None until somebody has said it.
    """

    active: set[str] = field(default_factory=set)
    last: Mapping[str, str] | None = None
    shown: Mapping[str, Any] = field(default_factory=dict)
    triggers: dict[str, Mapping[str, Any]] | None = None

    @property
    def part(self) -> dict[str, Any]:
        told = self.shown.get("triggers") if self.triggers is None else list(self.triggers.values())
        return {
            "active": len(self.active),
            **({"lastRun": self.last} if self.last else {}),
            **({"triggers": told} if told else {}),
        }

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember."""
        return not (self.active or self.shown or self.triggers)


class Standing:
    """Accounts of all Workflows."""

    def __init__(self) -> None:
        self._accounts: dict[Key, _Account] = {}
        self._workflows: dict[str, Key] = {}

    def see(self, ref: Ref, body: Mapping[str, Any]) -> None:
        """The API server has answered with an object."""
        if ref.resource == RUNS and (key := _workflow_of(body)) is not None:
            status = body.get("status") or {}
            if status.get("phase") in _DONE:
                self._end(key, body)
            else:
                self._begin(key, ref.uid)

    def gone(self, ref: Ref) -> None:
        """A run's resource is not there any more."""
        if (key := self._workflows.pop(ref.uid, None)) is not None:
            self._accounts[key].active.discard(ref.uid)

    def count(self, unfinished: Iterable[Mapping[str, Any]]) -> None:
        """Take these resources, and no others, for the active ones."""
        self._workflows.clear()
        for account in self._accounts.values():
            account.active.clear()
        for body in unfinished:
            if (key := _workflow_of(body)) is not None:
                self._begin(key, body["metadata"]["uid"])
        for key in [key for key, account in self._accounts.items() if account.idle]:
            del self._accounts[key]  # of a Workflow that was deleted, or never came

    def show(self, key: Key, status: Mapping[str, Any]) -> None:
        """A Workflow was seen. What it shows of its last run is older than this process, or its own word."""
        account = self._accounts.setdefault(key, _Account())
        account.shown = status
        last = status.get("lastRun")
        if last is not None and (account.last is None or last["finishedAt"] > account.last["finishedAt"]):
            account.last = last

    def list_triggers(self, key: Key, names: Iterable[str]) -> None:
        """These are a Workflow's triggers now. What was said of one that stays stays said."""
        account = self._accounts.setdefault(key, _Account())
        before = account.triggers
        if before is None:
            before = {each["name"]: each for each in account.shown.get("triggers", ())}
        account.triggers = {name: before.get(name, {"name": name}) for name in names}

    def tell_trigger(self, key: Key, name: str, **what: str | None) -> None:
        """Say of a trigger that is listed how it stands. What is not named stays; None takes a field away."""
        account = self._accounts.get(key)
        told = {} if account is None or account.triggers is None else account.triggers
        if name in told:
            told[name] = {field: value for field, value in {**told[name], **what}.items() if value is not None}

    def forget(self, key: Key) -> None:
        """A Workflow was deleted. What still runs of it belongs to one of this name that may come."""
        if (account := self._accounts.get(key)) is not None:
            account.last, account.shown, account.triggers = None, {}, None

    def part(self, key: Key) -> dict[str, Any]:
        """What a Workflow's status is to show."""
        account = self._accounts.get(key)
        return {} if account is None else account.part

    def shown(self, key: Key) -> Mapping[str, Any]:
        """The status that a Workflow shows."""
        account = self._accounts.get(key)
        return {} if account is None else account.shown

    def changed(self) -> list[Key]:
        """The Workflows that show something else. One that never had a run shows nothing."""
        idle = {"active": 0}
        return [key for key, account in self._accounts.items() if account.part != (part_of(account.shown) or idle)]

    def _begin(self, key: Key, uid: str) -> None:
        self._workflows[uid] = key
        self._accounts.setdefault(key, _Account()).active.add(uid)

    def _end(self, key: Key, body: Mapping[str, Any]) -> None:
        metadata, status = body["metadata"], body["status"]
        account = self._accounts.setdefault(key, _Account())
        account.active.discard(metadata["uid"])
        self._workflows.pop(metadata["uid"], None)
        at = status.get("finishedAt")
        if at and (account.last is None or at >= account.last["finishedAt"]):
            account.last = {"name": metadata["name"], "phase": status["phase"], "finishedAt": at}


def part_of(status: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a Workflow's status that tells how it stands."""
    return {key: status[key] for key in ("active", "lastRun", "triggers") if key in status}


def _workflow_of(body: Mapping[str, Any]) -> Key | None:
    """Whose run a resource is; None when it brought its own workflow."""
    reference = body["spec"].get("workflow")
    return (body["metadata"]["namespace"], reference["name"]) if reference else None
