"""What a step's container says, followed over broken connections, each line once as far as its time tells."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime

import structlog

from leat_engine.kind import StepContext
from leat_runner.kinds.job_manifest import STEP
from leat_runner.kubernetes import ApiRefused, ApiUnavailable, Kubernetes, pause

FINISH_SECONDS = 10.0
"""What the end of a log may take after the container's end."""

TAIL_LINES = 50
TAIL_BYTES = 4096

log = structlog.get_logger(__name__)


class PodLog:
    """Follows the log of one pod's step."""

    def __init__(self, api: Kubernetes, pod: str, step: StepContext) -> None:
        self._api = api
        self._path = f"{pod}/log"
        self._step = step
        self._until = step.logged_until
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._follow())

    async def finish(self) -> None:
        """The container has ended: return when its log was read to the end, or nothing comes of it."""
        self._over.set()
        await asyncio.wait({self._task}, timeout=FINISH_SECONDS)
        if not self._task.done():
            self._step.log("leat", "the end of the log could not be read from the pod")
        await self.leave()

    async def leave(self) -> None:
        """Stop here."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def tail(self) -> str:
        """The last lines; "" when they cannot be had."""
        lines: list[bytes] = []
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                query = {"container": STEP, "tailLines": str(TAIL_LINES), "limitBytes": "65536"}
                async with aclosing(self._api.lines(self._path, **query)) as said:
                    lines = [line async for line in said]
        except (ApiUnavailable, ApiRefused, TimeoutError) as error:
            log.warning("log_tail_unread", step=self._step.name, reason=str(error))
        return b"\n".join(lines)[-TAIL_BYTES:].decode(errors="replace")

    async def _follow(self) -> None:
        tries = 0
        while True:
            over = self._over.is_set()
            try:
                await self._read(follow=not over)
                tries = 0
                if over:
                    return
                await self._moment()
            except ApiUnavailable as error:
                tries += 1
                log.info("log_interrupted", step=self._step.name, tries=tries, reason=str(error))
                await asyncio.sleep(pause(tries))
            except ApiRefused as refused:
                if over or refused.reason == "Forbidden":
                    self._step.log("leat", f"the log cannot be read: {refused}")
                    return
                await self._moment()

    async def _moment(self) -> None:
        """The log has ended, or is not there yet; the container's end will be told in a moment."""
        try:
            async with asyncio.timeout(1.0):
                await self._over.wait()
        except TimeoutError:
            return

    async def _read(self, *, follow: bool) -> None:
        query = {"container": STEP, "timestamps": "true", "follow": "true" if follow else "false"}
        behind = self._until
        if behind is not None:
            query["sinceTime"] = behind.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # the API knows whole seconds
        async with aclosing(self._api.lines(self._path, **query)) as said:
            async for line in said:
                at, text = split(line)
                if behind is not None and at is not None:
                    if at <= behind:
                        continue
                    behind = None
                self._until = at or self._until
                self._step.log("stdout", text, at)


def split(line: bytes) -> tuple[datetime | None, str]:
    """The time and the text of a line as the API server gives it with ``timestamps``."""
    time, space, text = line.partition(b" ")
    if space:
        try:
            at = datetime.fromisoformat(time.decode("ascii"))
        except ValueError:
            return None, line.decode(errors="replace")
        if at.tzinfo is not None:
            return at, text.decode(errors="replace")
    return None, line.decode(errors="replace")
