"""What a pod's status says about its step. Pure: a pod, a Job or events go in, a state or a sentence comes out."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from leat_engine.limits import KIB, OUTPUT_BYTES
from leat_engine.result import ErrorType, Failed, StepError, Succeeded
from leat_runner.kinds.job_manifest import GET, OUTPUT, PUT, STEP
from leat_runner.kinds.output import succeeded, too_large

Json = Mapping[str, Any]

MESSAGE_BYTES = 4 * KIB
"""What the kubelet takes of a termination message; of a longer one it keeps the end."""

MESSAGE_CHARS = 400
HOPELESS = frozenset({"InvalidImageName"})
"""Reasons to wait that no time helps."""

PENDING = "Pending"
"""The reason of a pod that only takes its time."""

USUAL = frozenset({"PodInitializing", "ContainerCreating"})

GONE = {
    "Evicted": "the pod was evicted",
    "Preempting": "the pod was preempted by one of a higher priority",
    "NodeLost": "the pod's node was lost",
    "Shutdown": "the pod's node was shut down",
    "NodeShutdown": "the pod's node was shut down",
    "Terminated": "the pod was terminated with its node",
    "DeletionByTaintManager": "the pod was evicted from a tainted node",
    "DeletionByPodGC": "the pod's node is gone",
    "EvictionByEvictionAPI": "the pod was evicted, as by a drain of its node",
    "PreemptionByScheduler": "the pod was preempted by one of a higher priority",
    "TerminationByKubelet": "the pod was terminated by its node",
}
"""Reasons of a pod's end that are not the step's fault."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The step has not begun. ``reason`` is Kubernetes' own word."""

    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" if self.message else self.reason


@dataclass(frozen=True, slots=True)
class Running:
    """The step runs, or has begun and ended and its output is on its way."""


@dataclass(frozen=True, slots=True)
class Exited:
    """The step's container has ended."""

    code: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The pod has ended before its step. When not ``final``, it is about to, and the step may still end by itself."""

    reason: str
    message: str
    final: bool = True


@dataclass(frozen=True, slots=True)
class Unfed:
    """The files of the step could not be fetched, so that it does not begin. ``said`` is the carrier's last line."""

    said: str


Seen = Waiting | Running | Exited | Gone | Unfed


def state_of(pod: Json) -> Seen:
    """What the step of a pod is doing."""
    status = pod.get("status", {})
    step = container_status(status, STEP)
    ended = step.get("state", {}).get("terminated")
    taken = _taken_away(pod)
    if ended is not None:
        code = int(ended.get("exitCode", 0))
        # A container that was killed for its pod's sake did not fail by itself.
        if code and taken is not None and ended.get("reason") != "OOMKilled":
            return taken
        if not code and (pending := _pending(status)):
            return taken or _carrier_state(status, pending)
        return Exited(code, str(ended.get("reason", "")), str(ended.get("message", "")))
    fetched = container_status(status, GET).get("state", {}).get("terminated")
    if fetched is not None and int(fetched.get("exitCode", 0)):
        return taken or Unfed(str(fetched.get("message", "")).strip().rpartition("\n")[2])
    if status.get("phase") == "Failed":
        return taken or Gone(str(status.get("reason") or "Failed"), _short(status.get("message") or "the pod failed"))
    if taken is not None and pod.get("metadata", {}).get("deletionTimestamp"):
        return replace(taken, final=False)
    if "running" in step.get("state", {}):
        return Running()
    return _waiting(status, step)


def said(pod: Json) -> bool:
    """Whether the step's container has begun, so that it may have a log."""
    state = container_status(pod.get("status", {}), STEP).get("state", {})
    return "running" in state or "terminated" in state


def ended(pod: Json) -> bool:
    """Whether the step's container has ended."""
    return _over(pod.get("status", {}), STEP)


def container_status(status: Json, name: str) -> Json:
    """What a pod's status says of one of its containers."""
    for each in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        if each.get("name") == name:
            found: Json = each
            return found
    return {}


def _pending(status: Json) -> str:
    """The container behind the step that has not done its work yet: tells the output, or puts files; "" if none."""
    if all(each.get("name") != STEP for each in status.get("initContainerStatuses", ())):
        return ""
    if status.get("phase") in ("Failed", "Succeeded"):
        return ""  # one before it has failed
    for name in (OUTPUT, PUT):
        if (name == OUTPUT or container_status(status, name)) and not _over(status, name):
            return name
    return ""


def _over(status: Json, name: str) -> bool:
    return "terminated" in container_status(status, name).get("state", {})


def put_is_over(pod: Json) -> bool:
    """Whether the container that puts files has come to its end."""
    return _over(pod.get("status", {}), PUT)


def _carrier_state(status: Json, name: str) -> Seen:
    waiting = container_status(status, name).get("state", {}).get("waiting", {})
    reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    what = "puts the artifacts" if name == PUT else "reads the output"
    if reason == "CreateContainerConfigError" and "not found" in message:
        return Waiting(PENDING, f"the container that {what} waits for its URLs")
    if reason and reason not in USUAL:
        return Waiting(reason, _short(f"the container that {what}: {message}"))
    return Running()


def _taken_away(pod: Json) -> Gone | None:
    status = pod.get("status", {})
    for condition in status.get("conditions", ()):
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            reason = str(condition.get("reason", "Evicted"))
            return Gone(reason, _sentence(reason, condition.get("message", "")))
    reason = str(status.get("reason", ""))
    if reason in GONE:
        return Gone(reason, _sentence(reason, status.get("message", "")))
    if pod.get("metadata", {}).get("deletionTimestamp"):
        return Gone("PodDeleted", "the pod was deleted")
    return None


def _sentence(reason: str, message: Any) -> str:
    own = GONE.get(reason, "the pod was taken away")
    return _short(f"{own}: {message}") if message else own


def _waiting(status: Json, step: Json) -> Waiting:
    waiting = step.get("state", {}).get("waiting", {})
    reason = str(waiting.get("reason", ""))
    if reason and reason not in USUAL:
        return Waiting(reason, _short(waiting.get("message", "")))
    for condition in status.get("conditions", ()):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return Waiting(str(condition.get("reason", "Unschedulable")), _short(condition.get("message", "")))
    return Waiting(PENDING, "the pod is being prepared")


def why_no_pod(job: Json, events: Sequence[Json]) -> Seen:
    """What a Job without a pod waits for: its newest warning, or nothing worth telling."""
    for condition in job.get("status", {}).get("conditions", ()):
        if condition.get("type") == "Failed" and condition.get("status") == "True":
            return Gone(str(condition.get("reason", "Failed")), _short(condition.get("message", "the Job failed")))
    warnings = [event for event in events if event.get("type") == "Warning"]
    if not warnings:
        return Waiting(PENDING, "the Job has no pod yet")
    newest = max(warnings, key=_when)
    return Waiting(str(newest.get("reason", "Warning")), _short(newest.get("message", "")))


def why_not_ready(events: Sequence[Json]) -> Waiting | None:
    """What a scheduled pod waits for that its status does not say, such as a volume that cannot be mounted."""
    warnings = [event for event in events if event.get("type") == "Warning"]
    if not warnings:
        return None
    newest = max(warnings, key=_when)
    return Waiting(str(newest.get("reason", "Warning")), _short(newest.get("message", "")))


def _when(event: Json) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


# -- outcomes ---------------------------------------------------------------------------------------------------------


def failure(exited: Exited, tail: str) -> Failed:
    """The failure of a container that ended with another code than 0."""
    details = {"exitCode": exited.code, "log": tail}
    if exited.reason == "OOMKilled":
        message = "the container was killed at its memory limit; raise resources.limits.memory"
        return Failed(StepError(ErrorType.OUT_OF_MEMORY, message, reason="OOMKilled", details=details))
    if exited.reason in ("ContainerCannotRun", "StartError"):
        message = f"the container could not be started: {_short(exited.message)}"
        return Failed(StepError(ErrorType.EXIT_CODE, message, reason=exited.reason, details=details))
    message = f"the container ended with exit code {exited.code}"
    return Failed(StepError(ErrorType.EXIT_CODE, message, details=details))


def taken_away(gone: Gone) -> Failed:
    """The failure of a step that lost its pod; worth another try."""
    if gone.reason == "DeadlineExceeded":
        message = f"the Job's activeDeadlineSeconds passed: {gone.message}"
        return Failed(StepError(ErrorType.TIMEOUT, message, reason=gone.reason))
    return Failed(StepError(ErrorType.EVICTED, gone.message, reason=gone.reason))


def not_started(waiting: Waiting, seconds: float) -> Failed:
    """The failure of a step whose pod did not begin in time."""
    message = f"the pod did not begin within {seconds:g} s; it waits: {waiting}"
    if waiting.reason in HOPELESS:
        message = f"the pod cannot begin: {waiting}"
    hopeless = waiting.reason in HOPELESS
    return Failed(StepError(ErrorType.NOT_STARTED, message, reason=waiting.reason, retriable=not hopeless))


def told_by_message(message: str) -> Succeeded | Failed:
    """The output in a termination message: JSON if it parses, else text without the line ends at its end."""
    if len(message.encode()) >= MESSAGE_BYTES:
        text = (
            f"the output is {MESSAGE_BYTES} bytes or more, and Kubernetes cuts a termination message there;"
            " set `outputFrom: file`, which takes 1 MiB"
        )
        error = StepError(ErrorType.TOO_LARGE, text, reason="OutputCut", retriable=False)
        return Failed(error)
    return succeeded(value_of(message.encode()))


def told_by_file(log: Sequence[bytes]) -> Succeeded | Failed:
    """The output in the log of the container that tells it."""
    word, _, rest = (log[0] if log else b"").partition(b" ")
    match word:
        case b"":
            return Succeeded()
        case b"value":
            try:
                return succeeded(value_of(base64.b64decode(rest, validate=True)))
            except binascii.Error:
                return _lost("it was cut on its way")
        case b"large" if rest.isdigit():
            return too_large("the file $LEAT_OUTPUT", int(rest), OUTPUT_BYTES)
        case b"unreadable":
            message = f"$LEAT_OUTPUT cannot be read: {rest.decode(errors='replace')}; write a plain file"
            return Failed(StepError(ErrorType.INVALID, message, reason="OutputNotReadable", retriable=False))
        case _:
            return _lost(f"found {log[0][:200].decode(errors='replace')!r}")


def _lost(why: str) -> Failed:
    return Failed(
        StepError(ErrorType.INTERNAL, f"the output could not be read from the pod: {why}", reason="OutputLost")
    )


def value_of(content: bytes) -> Any:
    """JSON if it parses, else text without the line ends at its end; null when there is nothing."""
    if not content:
        return None
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return content.decode(errors="replace").rstrip("\r\n")


def _short(text: Any) -> str:
    words = " ".join(str(text).split())
    return words if len(words) <= MESSAGE_CHARS else words[: MESSAGE_CHARS - 1] + "…"
