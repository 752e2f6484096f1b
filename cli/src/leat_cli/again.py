"""Runs that go on from others: the resource of one, and which of many failed runs are to have one. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any

from leat_cli.resources import run_of_resource
from leat_cli.snapshot import RunSnapshot

Resource = Mapping[str, Any]

REJECTED = "Rejected"
"""Reason of a run that never began: the store does not know it, so nothing goes on from it."""

_NAME_CHARS = 200  # of 253: the rest is for the suffix
_SUFFIX = re.compile(r"-again-[a-z0-9]{5,8}$")
_TAKEN_OVER = ("priority", "ttlSecondsAfterFinished")
_SOURCES = ("workflow", "inline")


@dataclass(frozen=True, slots=True)
class Again:
    """What is asked of runs that go on. ``start``: steps to begin with; ``inputs``: those that differ.

    ``compensate``: they only undo what is left to be undone.
    """

    start: tuple[str, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    compensate: bool = False


@dataclass(frozen=True, slots=True)
class Picked:
    """Which failed runs are meant.

    Attributes:
        since: They ended then, or later.
        reason: Why they failed, as a type of error; "" means whatever it was.
    """

    workflow: str
    since: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Redrive:
    """A failed run, and the one that goes on from it. ``there``: it has been made before."""

    run: RunSnapshot
    resource: Resource
    name: str
    there: bool


def successor(resource: Resource, again: Again, name: str | None = None) -> dict[str, Any]:
    """Return the WorkflowRun that goes on from another one; the API server makes up its name unless it is given.

    Labels are not taken over: a tool that tracks what it applied by a label would take the new run for its own.
    """
    old, spec = resource["metadata"]["name"], resource["spec"]
    rerun: dict[str, Any] = {"of": old}
    if again.start:
        rerun["from"] = list(again.start)
    if again.compensate:
        rerun["compensate"] = True
    new = {key: spec[key] for key in (*_SOURCES, *_TAKEN_OVER) if key in spec} | {"rerun": rerun}
    if again.inputs:
        new["inputs"] = dict(again.inputs)
    metadata = {"name": name} if name else {"generateName": f"{_stem(old)}-again-"}
    return {"apiVersion": resource["apiVersion"], "kind": "WorkflowRun", "metadata": metadata, "spec": new}


def successor_name(resource: Resource, refused: Iterable[str] = ()) -> str:
    """Return the one name of a run's successor: computed, so that making it twice makes one.

    ``refused``: names of successors that could never run; they take no one's place.
    """
    metadata = resource["metadata"]
    seed = "/".join((metadata["uid"], *sorted(refused)))
    return f"{_stem(metadata['name'])}-again-{blake2b(seed.encode(), digest_size=4).hexdigest()}"


def redrives(failed: Sequence[Resource], reruns: Sequence[Resource], picked: Picked) -> list[Redrive]:
    """Return what there is to do, those first that ended first.

    Args:
        failed: WorkflowRuns that failed.
        reruns: WorkflowRuns that go on from others.
        picked: Which of the failed ones are meant.
    """
    made: dict[str, list[Resource]] = {}
    for rerun in sorted(reruns, key=_created):
        made.setdefault(rerun["spec"]["rerun"]["of"], []).append(rerun)
    found = [(run_of_resource(resource, None), resource) for resource in failed]
    meant = [(run, resource) for run, resource in found if _is_meant(run, picked)]
    meant.sort(key=lambda pair: (pair[0].finished_at, pair[0].name))
    return [_redrive(run, resource, made.get(run.name, ())) for run, resource in meant]


def _redrive(run: RunSnapshot, resource: Resource, reruns: Iterable[Resource]) -> Redrive:
    born = resource["metadata"].get("creationTimestamp", "")
    since = [
        rerun for rerun in reruns if rerun["metadata"].get("creationTimestamp", "") >= born
    ]  # a name may be reused
    refused = {rerun["metadata"]["name"] for rerun in since if run_of_resource(rerun, None).reason == REJECTED}
    names = [rerun["metadata"]["name"] for rerun in since if rerun["metadata"]["name"] not in refused]
    name = names[-1] if names else successor_name(resource, refused)
    return Redrive(run, resource, name, bool(names))


def _is_meant(run: RunSnapshot, picked: Picked) -> bool:
    if run.workflow != picked.workflow or run.phase != "Failed" or run.reason == REJECTED:
        return False
    if run.finished_at is None or run.finished_at < picked.since:
        return False
    return not picked.reason or run.reason == picked.reason


def _created(resource: Resource) -> str:
    return str(resource["metadata"].get("creationTimestamp", ""))


def _stem(name: str) -> str:
    """Return the name of the first run of a line of reruns."""
    return _SUFFIX.sub("", name)[:_NAME_CHARS].rstrip("-.")
