"""The newest word about the pod of a Job, whatever becomes of the connection that brings it."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Self

import structlog

from leat_runner.kinds.job_manifest import Place
from leat_runner.kubernetes import ApiRefused, ApiUnavailable, Kubernetes, NoCluster, pause

Json = dict[str, Any]

log = structlog.get_logger(__name__)


class PodFeed:
    """Lists and watches. Entering it begins, leaving it ends.

    Attributes:
        pod: The Job's newest pod, as last heard of, or None.
        deleted: It is not there any more.
        away: The API server does not answer, in its client's words; "" when it does.
    """

    def __init__(self, api: Kubernetes, place: Place) -> None:
        self.pod: Json | None = None
        self.deleted = False
        self.away = ""
        self._api = api
        self._place = place
        self._changed = asyncio.Event()
        self._refused: ApiRefused | NoCluster | None = None
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def changed(self, seconds: float | None) -> None:
        """Return when there is something new, or after ``seconds``.

        Raises:
            ApiRefused: The API server does not let this runner look.
            NoCluster: There is none to ask any more.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()
        if self._refused is not None:
            raise self._refused

    async def _run(self) -> None:
        tries = 0
        while True:
            try:
                version = await self._list()
                tries, self.away = 0, ""
                await self._watch(version)
                await asyncio.sleep(pause(1))  # a server that ends every watch at once must not be asked all the time
            except ApiUnavailable as error:
                tries += 1
                self.away = str(error)
                self._changed.set()
                log.warning("pod_unseen", job=self._place.name, tries=tries, reason=self.away)
                await asyncio.sleep(pause(tries))
            except (ApiRefused, NoCluster) as refused:
                self._refused = refused
                self._changed.set()
                return

    async def _list(self) -> str:
        listed = await self._api.read(self._place.pods, labelSelector=self._place.selector) or {}
        pods: Sequence[Json] = listed.get("items", ())
        if pods:
            self._take(max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", ""))))
        elif self.pod is not None:
            self.deleted = True
        self._changed.set()
        return str(listed.get("metadata", {}).get("resourceVersion", "0"))

    async def _watch(self, version: str) -> None:
        """Follow the changes until the API server ends it, or says that it forgot this version."""
        events = self._api.watch(self._place.pods, version, labelSelector=self._place.selector)
        async with aclosing(events):
            async for event in events:
                match event["type"]:
                    case "ADDED" | "MODIFIED":
                        self._take(event["object"])
                    case "DELETED" if self.pod is None or _uid(event["object"]) == _uid(self.pod):
                        self.pod, self.deleted = event["object"], True
                        self._changed.set()
                    case "ERROR":
                        return
                    case _:
                        pass

    def _take(self, pod: Json) -> None:
        self.pod, self.deleted = pod, False
        self._changed.set()


def _uid(pod: Json) -> str:
    return str(pod["metadata"]["uid"])
