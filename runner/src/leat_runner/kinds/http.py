"""http: one request, through one shared client with bounded pools and verified TLS.

Nothing that may hold a secret is shown: messages name the method, the host and the path, never the query, credentials
or headers. Statuses worth another try are 408, 425, 429 and 5xx; any other unexpected status is not retriable.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import aiohttp

from leat_engine.kind import ArtifactProblem, StepContext, Weight
from leat_engine.limits import MIB, OUTPUT_BYTES
from leat_engine.reference import reference_in
from leat_engine.result import ErrorType, Failed, Outcome, StepError, Succeeded
from leat_engine.spec.kinds import Http, status_expected
from leat_runner.kinds.answer import Answer, unexpected
from leat_runner.kinds.network import PrivateAddress, public_socket
from leat_runner.kinds.output import succeeded, too_large
from leat_runner.kinds.request import BadRequest, Request, request_of
from leat_runner.kinds.setup import KindSetup

MAX_CONNECTIONS = 256
MAX_CONNECTIONS_PER_HOST = 64
IDLE_CONNECTION = 4.0
"""Seconds. Below the 5 s after which common servers close: a POST on a connection being closed fails without need."""

CONNECT_TIMEOUT = 10.0
SILENCE_TIMEOUT = 300.0
"""Seconds without a byte, for steps without a ``timeout``: a peer that vanished must not hold a slot for ever."""

ANY_TYPE = "application/octet-stream"
"""Of an answer that does not say what it is, RFC 9110 section 8.3."""

EXCERPT = 2048
"""Bytes of an unexpected answer that go into the error."""


class HttpKind:
    """Sends requests."""

    weight: ClassVar[Weight] = Weight.IO

    def __init__(self, setup: KindSetup) -> None:
        self._clock = setup.clock
        self._guarded = not setup.settings.http_private_networks
        self._session: aiohttp.ClientSession | None = None

    async def execute(self, step: StepContext, fields: Http) -> Outcome:
        """Send the request once. The output is ``{status, headers, body}``, header names in lower case."""
        try:
            upload = step.artifacts.read(fields.body)
            request = request_of(step, fields if upload is None else fields.model_copy(update={"body": None}))
            if (reference := reference_in(fields.body)) is not None:
                request.headers["Content-Length"] = str(reference.size)  # many servers take no chunks
                request.headers.setdefault("Content-Type", reference.content_type)
        except BadRequest as error:
            return Failed(StepError(ErrorType.INVALID, str(error), retriable=False))
        try:
            async with self._response(step, request, fields, upload) as response:
                success = status_expected(response.status, fields.expect)
                limit = min(fields.max_response_bytes, OUTPUT_BYTES) if success else EXCERPT
                body, whole = await _read(response, limit)
                if success and not whole and fields.max_response_bytes > limit:
                    return await _kept(step, request, fields, response, body)
                if not whole:
                    # The rest is of no use, so neither is the connection that would have to deliver it first.
                    response.close()
        except (aiohttp.ClientError, OSError) as error:
            return _no_answer(request, error)
        if not whole:
            body = body[:limit]
        answer = Answer(response.status, _headers(response), body)
        if not success:
            return Failed(unexpected(request, answer, fields.expect, self._clock()))
        if not whole:
            return too_large(f"the answer to {request}", None, fields.max_response_bytes)
        return succeeded(answer.as_json())

    async def close(self) -> None:
        """Close the idle connections."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def _response(
        self, step: StepContext, request: Request, fields: Http, upload: AsyncIterator[bytes] | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            self._session = self._open()
        silence = SILENCE_TIMEOUT if step.timeout is None else None
        async with self._session.request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.body if upload is None else upload,
            allow_redirects=fields.follow_redirects and upload is None,  # its bytes come once
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT, sock_read=silence),
        ) as response:
            yield response

    def _open(self) -> aiohttp.ClientSession:
        # Needs the running loop, so not in the constructor.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=MAX_CONNECTIONS,
                limit_per_host=MAX_CONNECTIONS_PER_HOST,
                keepalive_timeout=IDLE_CONNECTION,
                socket_factory=public_socket if self._guarded else None,
            ),
            # Cookies would travel from one run to another.
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "leat"},
            # No proxies and no ~/.netrc of the runner: what is sent is what the step says.
            trust_env=False,
        )


async def _read(response: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """The first ``limit`` bytes of the body after decompression, and whether that is all of it."""
    parts = bytearray()
    async for part in response.content.iter_any():
        parts += part
        if len(parts) > limit:
            return bytes(parts), False
    return bytes(parts), True


async def _kept(
    step: StepContext, request: Request, fields: Http, response: aiohttp.ClientResponse, begun: bytes
) -> Outcome:
    """The output of an answer that is too large for the store of runs: it goes on to the artifact store as it comes."""
    if not step.artifacts.available:
        response.close()
        return too_large(f"the answer to {request}", None, OUTPUT_BYTES)
    headers = _headers(response)

    async def pieces() -> AsyncIterator[bytes]:
        size = len(begun)
        yield begun
        async for part in response.content.iter_chunked(MIB):
            size += len(part)
            if size > fields.max_response_bytes:
                response.close()
                raise ArtifactProblem(too_large(f"the answer to {request}", None, fields.max_response_bytes).error)
            yield part

    body = await step.artifacts.put_output(pieces, headers.get("content-type", ANY_TYPE), once=True)
    return Succeeded({"status": response.status, "headers": headers, "body": body})


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): ", ".join(response.headers.getall(name)) for name in response.headers}


def _no_answer(request: Request, error: aiohttp.ClientError | OSError) -> Failed:
    match error:
        case aiohttp.ClientConnectorError(os_error=PrivateAddress() as refused):
            return _connection(request, str(refused.strerror), "PrivateNetwork", retriable=False)
        case aiohttp.TooManyRedirects():
            return _connection(request, "too many redirects", "TooManyRedirects", retriable=False)
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            # Only a redirect gets here: the step's own URL was checked. The target is not shown, it may hold a token.
            return _connection(request, "the redirect leads to a URL that is not http", "BadRedirect", retriable=False)
        case asyncio.TimeoutError():
            message = f"{request} got no answer: nothing came for {SILENCE_TIMEOUT:g} s, or no connection was made"
            return Failed(StepError(ErrorType.TIMEOUT, message))
        case _:
            return _connection(request, _cause(error), _reason(error))


def _connection(request: Request, cause: str, reason: str, *, retriable: bool = True) -> Failed:
    return Failed(
        StepError(ErrorType.CONNECTION, f"{request} got no answer: {cause}", reason=reason, retriable=retriable)
    )


def _reason(error: aiohttp.ClientError | OSError) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "NameNotResolved"
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch():
            return "Tls"
        case aiohttp.ClientConnectorError():
            return "NotConnected"
        case _:
            return "ConnectionLost"


def _cause(error: aiohttp.ClientError | OSError) -> str:
    # str(error) of the client's errors may quote the URL, whose query may hold a token.
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection"
    return f"the connection broke ({type(error).__name__})"
