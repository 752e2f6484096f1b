"""The status of a RunnerPool: what the cluster and the store say of it. Pure.

Conditions read as kstatus reads them: a pool whose pods are being replaced is InProgress, one that the API server
refuses or whose pods do not start is Failed. That a scaler changes the number of runners changes no condition.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from leat_engine.pools import Announced, Backlog, Member
from leat_engine.status import MESSAGE_CHARS, Status, bounded
from leat_operator.admit import generation
from leat_operator.pool import Desired

Body = Mapping[str, Any]


class Health(StrEnum):
    """How a pool is: the reason of its conditions."""

    READY = "Ready"  # the runners take jobs
    AT_REST = "AtRest"  # there is no runner, and none is needed
    STARTING = "Starting"  # there are fewer runners than there must be
    ROLLING_OUT = "RollingOut"  # runners of an older spec are still to be replaced
    NOT_STARTING = "NotStarting"  # Kubernetes has given up on the pods, or cannot create them
    INVALID = "Invalid"  # the spec, or what follows from it, is refused
    NOT_IN_INSTALLATION = "NotInInstallation"  # it is in another namespace than the operator


_GOOD = {Health.READY, Health.AT_REST}
_LASTING = {Health.NOT_STARTING, Health.INVALID, Health.NOT_IN_INSTALLATION}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a pool is, in a word and in a sentence."""

    health: Health
    message: str


@dataclass(frozen=True, slots=True)
class Load:
    """What the store knows of all pools."""

    members: Sequence[Member]
    backlog: Mapping[str, Backlog]
    announced: Mapping[str, Announced]


def verdict(desired: Desired, deployment: Body | None, pods: Iterable[Body] = ()) -> Verdict:
    """How a pool is whose objects were applied. ``pods``: looked at for why they do not start."""
    remark = f". {desired.remark[0].upper()}{desired.remark[1:]}" if desired.remark else ""
    if deployment is None:
        return Verdict(Health.STARTING, "The Deployment is being made")
    status = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < generation(deployment["metadata"]):
        return Verdict(Health.ROLLING_OUT, "Kubernetes has not looked at the Deployment yet")
    wanted, ready = int(deployment["spec"].get("replicas", 1)), int(status.get("readyReplicas", 0))
    updated, all_of_them = int(status.get("updatedReplicas", 0)), int(status.get("replicas", 0))
    enough = min(wanted, max(desired.floor, 1))
    trouble = "; ".join(dict.fromkeys(troubles(pods)))
    if (failure := _failure(status)) and ready < enough:
        return Verdict(Health.NOT_STARTING, bounded(f"{failure}: {trouble}" if trouble else failure, MESSAGE_CHARS))
    if updated < min(enough, wanted) or updated < all_of_them:
        why = f"{trouble or 'the new ones are starting'}{remark}"
        return Verdict(Health.ROLLING_OUT, bounded(f"Runners are being replaced: {why}", MESSAGE_CHARS))
    if wanted == 0:
        return Verdict(Health.AT_REST, f"No runner is needed until a job comes{remark}")
    if ready < enough:
        why = trouble or "they are starting"
        return Verdict(Health.STARTING, bounded(f"{ready} of {enough} runners are ready: {why}{remark}", MESSAGE_CHARS))
    return Verdict(Health.READY, f"The runners take jobs{remark}")


def _failure(status: Body) -> str:
    """Why Kubernetes has given up, or cannot create pods at all."""
    for condition in status.get("conditions", ()):
        kind, state = condition.get("type"), condition.get("status")
        late = (kind, state, condition.get("reason")) == ("Progressing", "False", "ProgressDeadlineExceeded")
        if late or (kind, state) == ("ReplicaFailure", "True"):
            return str(condition.get("message") or condition.get("reason"))
    return ""


def troubles(pods: Iterable[Body]) -> Iterator[str]:
    """Why pods do not start, each in a sentence, without their names: pods of one Deployment have the same troubles."""
    for pod in pods:
        status = pod.get("status") or {}
        for condition in status.get("conditions", ()):
            if (condition.get("type"), condition.get("status")) == ("PodScheduled", "False"):
                yield f"{condition.get('reason', 'Unschedulable')}: {condition.get('message', '')}"
        for container in status.get("containerStatuses", ()):
            state, last = container.get("state") or {}, (container.get("lastState") or {}).get("terminated") or {}
            waiting = state.get("waiting") or {}
            if waiting.get("reason", "ContainerCreating") != "ContainerCreating":
                ended = f" (it ended with {last['exitCode']}, {last.get('reason')})" if "exitCode" in last else ""
                yield f"container {container['name']}: {waiting['reason']}: {waiting.get('message', '')}{ended}"


def pool_status(body: Body, found: Verdict, numbers: Status, now: datetime) -> Status:
    """The status to show. A condition keeps its transition time while its status stays."""
    observed = generation(body["metadata"])
    shown = {(each.get("type"), each.get("status")): each for each in (body.get("status") or {}).get("conditions", ())}
    good, lasting = found.health in _GOOD, found.health in _LASTING
    conditions = []
    for kind, state in (("Ready", good), ("Reconciling", not good and not lasting), ("Stalled", lasting)):
        known = shown.get((kind, str(state)))
        conditions.append(
            {
                "type": kind,
                "status": str(state),
                "reason": found.health.value,
                "message": found.message,
                "lastTransitionTime": known["lastTransitionTime"] if known else _time(now),
                "observedGeneration": observed,
            }
        )
    return {"observedGeneration": observed, "conditions": conditions, **numbers}


def numbers(body: Body, desired: Desired | None, deployment: Body | None, load: Load | None) -> Status:
    """What there is to count. Without a word of the store, what it said before stays."""
    name, shown = body["metadata"]["name"], body.get("status") or {}
    found: Status = {"ready": 0, "desired": 0}
    if deployment is not None:
        found["ready"] = int((deployment.get("status") or {}).get("readyReplicas", 0))
        found["desired"] = int(deployment["spec"].get("replicas", 1))
    if desired is not None:
        found["image"] = desired.image
    if load is None:
        kept = ("busy", "slots", "backlog", "kinds", "functions")
        return found | {key: shown[key] for key in kept if key in shown}
    members = [member for member in load.members if member.pool == name]
    waiting = load.backlog.get(name)
    found["busy"] = sum(member.busy for member in members)
    found["slots"] = sum(member.slots for member in members if not member.draining)
    found["backlog"] = 0 if waiting is None else waiting.waiting
    if (announced := load.announced.get(name)) is not None:
        found |= {"kinds": sorted(announced.kinds), "functions": sorted(announced.functions)}
    return found


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
