"""The files of a container step: which URLs its pod needs, when it gets them, and what it has put.

A URL is good for an hour at most, and less where the runner's own credentials end before; steps take longer, and wait
for nodes. So each way has a Secret of its own, made when it is due: when the pod has a node, and when the step has
succeeded. The kubelet reads it at the start of the one container that names it, and waits where it is not there yet.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import structlog

from leat_engine.kind import NO_STORE, StepContext
from leat_engine.reference import reference_in
from leat_engine.result import ErrorType, Failed, StepError
from leat_engine.spec.container import Container
from leat_runner.kinds.job_manifest import GET, PUT, STEP, Place
from leat_runner.kinds.pod_state import container_status
from leat_runner.kubernetes import ApiRefused, ApiUnavailable, Kubernetes

Json = Mapping[str, Any]

log = structlog.get_logger(__name__)


def unfit(step: StepContext, fields: Container) -> Failed | None:
    """Why the step cannot have files at all, or None."""
    wrong = [
        f"container.files.{name}: found {_kind_of(value)}, expected an artifact, such as "
        "${ steps.make.artifacts.report }; give values by `env`"
        for name, value in fields.files.items()
        if reference_in(value) is None
    ]
    if wrong:
        return Failed(StepError(ErrorType.INVALID, "; ".join(wrong), retriable=False))
    if not (fields.files or step.artifacts.paths) or step.artifacts.reachable:
        return None
    if not step.artifacts.available:
        return Failed(NO_STORE)
    message = (
        "`files` and `artifacts` of a container go by URLs, which a directory does not have: set LEAT_ARTIFACTS_URL "
        "of the runners, in the chart artifacts.url, to s3://BUCKET/PREFIX, or use a script or function step"
    )
    return Failed(StepError(ErrorType.ARTIFACT, message, "NotReachable", retriable=False))


def _kind_of(value: Any) -> str:
    return "nothing" if value is None else f"a value of type {type(value).__name__}"


def due(pod: Json) -> set[str]:
    """The containers of a pod that need their URLs now, and may be waiting for them."""
    spec, status = pod.get("spec", {}), pod.get("status", {})
    names = {each["name"] for each in (*spec.get("initContainers", ()), *spec.get("containers", ()))}
    found: set[str] = set()
    if spec.get("nodeName"):
        found.add(GET)
    if _code(status, STEP) == 0:
        found.add(PUT)
    return {name for name in found & names if _code(status, name) is None}


def _code(status: Json, name: str) -> int | None:
    """The exit code of a container; None before its end."""
    ended = container_status(status, name).get("state", {}).get("terminated")
    return None if ended is None else int(ended.get("exitCode", 0))


def secret_of(place: Place, name: str, pod: Json, items: Sequence[Json]) -> dict[str, Any]:
    """The Secret that one container of a pod waits for. It goes with the pod."""
    metadata = pod["metadata"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": place.urls(name),
            "namespace": place.namespace,
            "labels": {"app.kubernetes.io/managed-by": "leat"},
            "ownerReferences": [{**owner, "blockOwnerDeletion": False}],
        },
        "immutable": True,
        # A variable each: one variable has 128 KiB at most.
        "stringData": {f"LEAT_FILE_{number}": orjson.dumps(item).decode() for number, item in enumerate(items)},
    }


class PodFiles:
    """Gives the pod of a try its URLs."""

    def __init__(self, api: Kubernetes, place: Place, step: StepContext, fields: Container) -> None:
        self._api = api
        self._place = place
        self._step = step
        self._fields = fields
        self._given: set[str] = set()

    async def give(self, pod: Json) -> bool:
        """Make the Secrets that are due; False when the API server is away, and this is to be asked again.

        Raises:
            ArtifactProblem: There is no URL to be had.
            ApiRefused: The pool may not make Secrets here.
        """
        try:
            for name in sorted(due(pod) - self._given):
                items = await (self._to_get() if name == GET else self._to_put())
                await self._make(secret_of(self._place, name, pod, items))
                self._given.add(name)
        except ApiUnavailable as error:
            log.warning("urls_held", job=self._place.name, reason=str(error))
            return False
        return True

    async def _make(self, secret: dict[str, Any]) -> None:
        try:
            await self._api.create(self._place.secrets, secret)
        except ApiRefused as refused:
            if refused.reason != "AlreadyExists":  # who had the step before made it, or our own request was heard
                raise

    async def _to_get(self) -> list[Json]:
        items: list[Json] = []
        for name, value in self._fields.files.items():
            reference = reference_in(value)
            assert reference is not None  # noqa: S101  `unfit` has looked
            url = await self._step.artifacts.get_url(value)
            items.append({"path": name, "url": url, "size": reference.size, "sha256": reference.sha256})
        return items

    async def _to_put(self) -> list[Json]:
        artifacts = self._step.artifacts
        items: list[Json] = []
        for name, path in artifacts.paths.items():
            url, content_type = await artifacts.put_url(name)
            items.append({"name": name, "path": path, "url": url, "contentType": content_type})
        return items

    async def take(self, lines: Sequence[bytes]) -> Failed | None:
        """Take what was put, by the word of the container that did it; why that cannot be, or None.

        Raises:
            ArtifactProblem: The artifact store has something else.
        """
        told = {line.get("name"): line for line in map(told_line, lines)}
        problems: list[tuple[str, Json]] = []
        for name in self._step.artifacts.paths:
            line = told.get(name, {})
            match line:
                case {"size": int(size), "sha256": str(sha256)}:
                    await self._step.artifacts.arrived(name, size, sha256)
                case _:
                    problems.append((f"artifacts.{name}", line))
        return uncarried(*problems) if problems else None


def told_line(line: bytes | str) -> dict[str, Any]:
    """What `leat_runner.ferry` says of one file; nothing when these are not its words."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def uncarried(*problems: tuple[str, Json]) -> Failed:
    """The failure of a step whose files could not be carried: where, and what was said of each."""
    said = [line if "reason" in line else _SILENT for _, line in problems]
    texts = [f"{where}: {line.get('message', '')}" for (where, _), line in zip(problems, said, strict=True)]
    reason = str(said[0]["reason"])
    types = {"ArtifactMissing": ErrorType.INVALID, "TooLarge": ErrorType.TOO_LARGE}
    retriable = all(line.get("retriable", True) for line in said)
    error = StepError(types.get(reason, ErrorType.ARTIFACT), "; ".join(texts), reason, retriable=retriable)
    return Failed(error)


_SILENT: Json = {"reason": "FilesLost", "message": "the pod's container that carries it has ended without a word"}
