"""`/metrics`, `/healthz` and `/readyz`, on one port."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


class Probes:
    """The port, for use as an async context manager.

    Healthy means that the event loop answers: what can be wrong beyond that ends the process. Ready means that the
    store and the cluster were reached and this replica is active, or stands by.
    """

    def __init__(self, host: str, port: int, ready: Callable[[], bool]) -> None:
        self._address = (host, port)
        self._ready = ready
        app = web.Application()
        app.router.add_get("/metrics", _metrics)
        app.router.add_get("/healthz", _healthy)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, *self._address).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port that is listened on, also when 0 was asked for."""
        return int(self._runner.addresses[0][1])

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(text="ready\n") if self._ready() else web.Response(status=503, text="starting\n")


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="healthy\n")


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
