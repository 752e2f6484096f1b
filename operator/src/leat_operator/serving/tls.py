"""The TLS port: certificates and trusted callers can be exchanged while requests are under way."""

import os
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import structlog
from aiohttp import web

log = structlog.get_logger(__name__)

_BACKLOG = 128
_SHUTDOWN = 3.0


@dataclass(frozen=True, slots=True)
class Identity:
    """What the port shows, and whose certificates it takes; all as PEM.

    Attributes:
        callers: Authorities of callers' certificates; "" when no caller can prove anything.
    """

    certificate: str
    key: str = field(repr=False)
    callers: str = ""

    def context(self) -> ssl.SSLContext:
        """The TLS settings of the port.

        Raises:
            ValueError: The certificate, its key or the authorities cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            with _file(self.certificate) as certificate, _file(self.key) as key:
                context.load_cert_chain(certificate, key)
            if self.callers:
                context.load_verify_locations(cadata=self.callers)
                context.verify_mode = ssl.CERT_OPTIONAL  # the API server shows none when it asks a webhook
        except ssl.SSLError as error:
            raise ValueError(f"the certificate, its key or the callers' authorities cannot be used: {error}") from error
        return context


class Port:
    """An HTTPS port, for use as an async context manager. It listens from the first `show`."""

    def __init__(self, app: web.Application, host: str, port: int) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN)
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self._site: web.SockSite | None = None
        self._shown: Identity | None = None

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        if self._socket is not None:
            self._socket.close()

    @property
    def listening(self) -> bool:
        """Whether requests are answered."""
        return self._site is not None

    async def show(self, identity: Identity) -> None:
        """Let new connections meet this identity. Those that are open go on as they began.

        Raises:
            ValueError: It cannot be used; the one before stays.
        """
        if identity == self._shown:
            return
        context = identity.context()
        if self._socket is None:
            self._socket = _listen(*self._address)
        # Another listener of the same socket takes over before the one before it stops: nobody is turned away.
        site = web.SockSite(self._runner, self._socket.dup(), ssl_context=context, backlog=_BACKLOG)
        await site.start()
        before, self._site, self._shown = self._site, site, identity
        if before is not None:
            await before.stop()
        log.info("certificate shown", again=before is not None, callers=bool(identity.callers))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server(
        (host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6()
    )


@contextmanager
def _file(text: str) -> Iterator[str]:
    """A file for OpenSSL, which reads keys from nothing else; in memory where there are such files."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("leat"), "w") as file:
            file.write(text)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
        return
    with tempfile.NamedTemporaryFile("w") as named:
        named.write(text)
        named.flush()
        yield named.name
