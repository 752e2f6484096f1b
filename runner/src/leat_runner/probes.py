"""`/metrics`, `/healthz` and `/readyz`, on one port."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


class Probes:
    """The port, for use as an async context manager.

    Healthy means that the event loop answers. ``unready`` says why no steps can be taken, or "" when they can. A broker
    that is away is no reason: the runner polls.
    """

    def __init__(self, host: str, port: int, unready: Callable[[], str]) -> None:
        self._address = (host, port)
        self._unready = unready
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

    async def _readyz(self, _: web.Request) -> web.Response:
        why = self._unready()
        return web.Response(status=503, text=f"{why}\n") if why else web.Response(text="ready\n")


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="healthy\n")


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
