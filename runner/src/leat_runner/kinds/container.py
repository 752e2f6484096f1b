"""container: an image as a Kubernetes Job in the run's namespace, owned by the run.

The Job goes on without this runner. One that leaves, dies or is declared dead lets it be, and whoever takes the step
over finds it by its name. A step that is cancelled, or has no time left, deletes it. While the API server is away an
attempt waits, and so does the cluster's own end of the Job.

A pod that waits says for what: in the step's note, within seconds. Its log is followed into the store.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from contextlib import aclosing
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import structlog

from leat_engine.kind import StepContext, Weight, ends_work
from leat_engine.result import ErrorType, Failed, Outcome, StepError, Succeeded
from leat_engine.spec import parse_duration
from leat_engine.spec.container import Container
from leat_runner.kinds.job_manifest import OUTPUT, PUT, Place, has_files, job_of, place_of
from leat_runner.kinds.jobs import NoJob, delete, make, sweep
from leat_runner.kinds.pod_feed import PodFeed
from leat_runner.kinds.pod_files import PodFiles, told_line, uncarried, unfit
from leat_runner.kinds.pod_log import PodLog
from leat_runner.kinds.pod_state import (
    HOPELESS,
    PENDING,
    Exited,
    Gone,
    Running,
    Seen,
    Unfed,
    Waiting,
    ended,
    failure,
    not_started,
    put_is_over,
    said,
    state_of,
    taken_away,
    told_by_file,
    told_by_message,
    why_no_pod,
    why_not_ready,
)
from leat_runner.kinds.setup import KindSetup
from leat_runner.kubernetes import ApiRefused, ApiUnavailable, Kubernetes, NoCluster, pause

LOOK = 1.0
LOOK_SELDOM = 5.0
USUAL = 5.0
"""Seconds that a pod may take to begin before somebody is told that it takes them; a stated reason is told at once."""

END_SECONDS = 2.0
"""What the end of an attempt waits for the deletion of its Job, which goes on afterwards."""

GRACE_SECONDS = 15.0
"""After the grace period of a pod that is being deleted, its node is taken for lost."""

OUTPUT_SECONDS = 60.0
"""How long the output is asked for while the API server answers and the pod's node does not."""

Json = dict[str, Any]
T = TypeVar("T")

log = structlog.get_logger(__name__)


class ContainerKind:
    """Runs Jobs."""

    weight: ClassVar[Weight] = Weight.IO
    outlives_runner: ClassVar[bool] = True

    def __init__(self, setup: KindSetup) -> None:
        self._api = setup.kubernetes
        self._image = setup.settings.image
        self._ending: set[asyncio.Task[None]] = set()

    async def execute(self, step: StepContext, fields: Container) -> Outcome:
        """Make the Job, or find it, and follow it to its end."""
        if (problem := unfit(step, fields)) is not None:
            return problem
        if (fields.output_from == "file" or has_files(step, fields)) and not self._image:
            message = (
                "outputFrom: file, files and artifacts need LEAT_IMAGE, the image of this runner's pod, "
                "in the runner's environment"
            )
            return Failed(StepError(ErrorType.INVALID, message, reason="NoImage", retriable=False))
        attempt = _Attempt(self._api, step, fields)
        making = asyncio.ensure_future(attempt.make(self._image))
        try:
            await asyncio.shield(making)
            outcome = await attempt.follow()
        except ApiRefused as refused:
            outcome = _refused(refused, attempt.place)
        except NoJob as none:
            return Failed(none.error)
        except NoCluster as error:
            return Failed(StepError(ErrorType.KUBERNETES, str(error), reason="NoCluster", retriable=False))
        except asyncio.CancelledError as cancel:
            if ends_work(cancel):
                await self._end(attempt, making)
            else:
                making.cancel()
            raise
        except Exception:
            await self._end(attempt, making)
            raise
        if not attempt.over:
            await self._end(attempt, making)
        return outcome

    async def forsake(self, namespace: str, run_id: UUID, keys: Collection[str]) -> None:
        """Delete the Jobs of steps that nobody follows. Those that have ended stay for people."""
        await self._aside(sweep(self._api, namespace, run_id, keys))

    async def close(self) -> None:
        """Give the last deletions a moment, and end the session."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=END_SECONDS)
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._api.close()

    async def _end(self, attempt: "_Attempt", making: "asyncio.Future[None]") -> None:
        """Delete the Job."""
        attempt.over = True
        await self._aside(delete(self._api, attempt.place, making))

    async def _aside(self, deletion: Coroutine[Any, Any, None]) -> None:
        """Delete. While the API server is away this goes on, and nobody waits for it."""
        task = asyncio.create_task(deletion)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        await asyncio.wait({task}, timeout=END_SECONDS)


class _Attempt:
    """One attempt with its Job. ``over``: the Job has ended by itself, or is to be deleted."""

    def __init__(self, api: Kubernetes, step: StepContext, fields: Container) -> None:
        self.place = place_of(step)
        self.over = False
        self._api = api
        self._step = step
        self._fields = fields
        self._began = asyncio.get_running_loop().time()
        self._files = PodFiles(api, self.place, step, fields)
        self._held = False
        self._ended = False
        self._log: PodLog | None = None
        self._noted = ""
        self._leaving: float | None = None

    async def make(self, image: str) -> None:
        """Create the Job, unless it is there."""
        body = job_of(self._step, self._fields, image)
        tries = 0
        while not self.over:
            try:
                await make(self._api, self._step, body)
            except ApiUnavailable as error:
                tries += 1
                log.warning("job_held", job=self.place.name, tries=tries, reason=str(error))
                self._note(Waiting("ApiServerAway", "its Job cannot be created: the API server does not answer"))
                await asyncio.sleep(pause(tries))
            else:
                return

    async def follow(self) -> Outcome:
        """Watch the pod until the step has ended, or cannot begin."""
        patience = parse_duration(self._fields.pending_timeout)
        try:
            async with PodFeed(self._api, self.place) as feed:
                wait: float | None = LOOK
                while True:
                    await feed.changed(LOOK if self._held else wait)
                    seen = await self._seen(feed)
                    match seen:
                        case Exited() | Unfed():
                            return await self._exited(seen, feed)
                        case Gone() if seen.final or feed.deleted or self._too_late(feed):
                            return await self._lost(seen)
                        case Waiting(reason="ApiServerAway"):
                            self._began = asyncio.get_running_loop().time()  # nobody could see the pod begin
                            self._note(seen)
                            wait = LOOK
                        case Waiting() if seen.reason in HOPELESS or self._waited() > patience:
                            return not_started(seen, patience)
                        case Waiting():
                            self._note(seen)
                            wait = LOOK if self._waited() < 2 * USUAL else LOOK_SELDOM
                            wait = min(wait, max(0.0, patience - self._waited()) + 0.01)
                        case Running():
                            self._note(None)
                            wait = None if self._log is not None else LOOK
                        case Gone():
                            wait = LOOK
        finally:
            if self._log is not None:
                await self._log.leave()

    # -- what is seen ---------------------------------------------------------------------------------------------

    async def _seen(self, feed: PodFeed) -> Seen:
        if feed.away and feed.pod is None:
            return Waiting("ApiServerAway", "the API server does not answer")
        if feed.pod is None:
            return await self._without_pod()
        self._held = not await self._files.give(feed.pod)
        if self._log is None and said(feed.pod):
            self._log = PodLog(self._api, f"{self.place.pods}/{feed.pod['metadata']['name']}", self._step)
        seen = state_of(feed.pod)
        if not self._ended and ended(feed.pod):
            self._ended = True
            self._began = asyncio.get_running_loop().time()  # what comes after the step has its own time to begin
        if feed.deleted and not isinstance(seen, Exited | Gone | Unfed):
            return Gone("PodDeleted", "the pod was deleted")
        if isinstance(seen, Waiting) and seen.reason == PENDING and self._waited() > USUAL:
            return await self._unspoken(feed.pod) or seen
        return seen

    async def _without_pod(self) -> Seen:
        """Why the Job has no pod: a quota, an admission, or it ended and somebody cleaned up."""
        try:
            job = await self._api.read(self.place.job)
            if job is None:
                return Gone("JobDeleted", "the Job was deleted by somebody else")
            if job.get("status", {}).get("succeeded"):
                return Gone("OutputLost", "the Job has succeeded, but its pod is gone, and with it the output")
            return why_no_pod(job, await self._events(str(job["metadata"]["uid"])))
        except ApiUnavailable:
            return Waiting("ApiServerAway", "the API server does not answer")

    async def _unspoken(self, pod: Json) -> Waiting | None:
        try:
            return why_not_ready(await self._events(str(pod["metadata"]["uid"])))
        except ApiUnavailable:
            return None

    async def _events(self, uid: str) -> list[Json]:
        try:
            found = await self._api.read(self.place.events, fieldSelector=f"involvedObject.uid={uid}", limit="50")
        except ApiRefused as refused:  # events make messages better; a runner without the right to see them works
            log.info("events_unread", reason=str(refused))
            return []
        return list((found or {}).get("items", ()))

    def _note(self, waiting: Waiting | None) -> None:
        """Tell what is waited for: once per reason, and not that a pod takes its usual time."""
        reason = "" if waiting is None else waiting.reason
        if waiting is not None and reason == PENDING and self._waited() < USUAL:
            return
        if reason == self._noted or (reason == "ErrImagePull" and self._noted == "ImagePullBackOff"):
            return
        self._noted = reason
        self._step.note("" if waiting is None else str(waiting))

    def _waited(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    def _too_late(self, feed: PodFeed) -> bool:
        """Whether a pod that is being deleted had all the time that it has to end its containers."""
        now = asyncio.get_running_loop().time()
        if self._leaving is None:
            self._leaving = now
        grace = float((feed.pod or {}).get("metadata", {}).get("deletionGracePeriodSeconds") or 0)
        return now - self._leaving > grace + GRACE_SECONDS

    # -- how it ends ----------------------------------------------------------------------------------------------

    async def _exited(self, exited: Exited | Unfed, feed: PodFeed) -> Outcome:
        self.over = True
        self._note(None)
        if isinstance(exited, Unfed):
            line = told_line(exited.said)
            return uncarried((f"container.files.{line.get('name', '')}".rstrip("."), line))
        assert self._log is not None  # noqa: S101  a container that ended has begun
        await self._log.finish()
        if exited.code:
            return failure(exited, await self._log.tail())
        assert feed.pod is not None  # noqa: S101  it is the pod that was seen
        pod = f"{self.place.pods}/{feed.pod['metadata']['name']}"
        if self._fields.output_from == "terminationMessage":
            outcome = told_by_message(exited.message)
        else:
            outcome = await self._told(pod, OUTPUT, told_by_file)
        if self._step.artifacts.paths and isinstance(outcome, Succeeded):
            if not put_is_over(feed.pod):
                return taken_away(Gone("OutputLost", "the step has succeeded, but nothing has put its artifacts"))
            lines = await self._told(pod, PUT, list)
            return lines if isinstance(lines, Failed) else (await self._files.take(lines) or outcome)
        return outcome

    async def _told(self, pod: str, container: str, read: Callable[[list[bytes]], T]) -> T | Failed:
        """What the log of a container behind the step tells."""
        loop = asyncio.get_running_loop()
        tries, until = 0, loop.time() + OUTPUT_SECONDS
        while True:
            try:
                async with aclosing(self._api.lines(f"{pod}/log", container=container)) as lines:
                    return read([line async for line in lines])
            except ApiUnavailable as error:
                tries += 1
                log.warning("output_held", job=self.place.name, tries=tries, reason=str(error))
            await asyncio.sleep(pause(tries))
            try:
                if await self._api.read(pod) is None or loop.time() > until:
                    return taken_away(Gone("OutputLost", "the step has succeeded, but its output cannot be read"))
            except ApiUnavailable:
                until = loop.time() + OUTPUT_SECONDS

    async def _lost(self, gone: Gone) -> Outcome:
        """The pod is gone; its Job knows whether that was because its time was over."""
        self._note(None)
        if self._log is not None:
            await self._log.finish()
        if gone.reason == "PodDeleted":
            try:
                job = await self._api.read(self.place.job)
            except ApiUnavailable:
                return taken_away(gone)
            why = why_no_pod(job, ()) if job is not None else Gone("JobDeleted", "the Job was deleted by somebody else")
            if isinstance(why, Gone) and why.reason in ("DeadlineExceeded", "JobDeleted"):
                return taken_away(why)
        return taken_away(gone)


def _refused(refused: ApiRefused, place: Place) -> Failed:
    """Why there can be no Job, in the API server's words, and who can change that."""
    message = str(refused)
    if refused.reason == "Forbidden" and "exceeded quota" not in message:
        message += "; the pool's service account needs rights in this namespace: docs/how-to/containers.md"
    quota = refused.reason == "Forbidden" and "exceeded quota" in message
    details = {"status": refused.status, "job": place.name}
    error = StepError(ErrorType.KUBERNETES, message, reason=refused.reason, retriable=quota, details=details)
    return Failed(error)
