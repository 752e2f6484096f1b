import asyncio
import ssl
import zlib
from contextlib import asynccontextmanager
from datetime import timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from aiohttp.test_utils import TestServer, unused_port
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.support.steps import NOW, STEP, a_kind, a_step

from leat_engine.result import Failed, Succeeded
from leat_engine.spec.kinds import Http
from leat_runner.kinds.answer import retry_after
from leat_runner.kinds.http import EXCERPT, HttpKind
from leat_runner.kinds.network import is_public


class Service:
    """An HTTP server that answers as told and remembers what it was asked."""

    def __init__(self):
        self.requests = []
        self.bodies = []
        self.answer = lambda _: web.Response()

    async def handle(self, request):
        self.requests.append(request)
        self.bodies.append(await request.read())
        answer = self.answer(request)
        return await answer if asyncio.iscoroutine(answer) else answer


@pytest.fixture
async def service():
    service = Service()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.handle)
    async with TestServer(app) as server:
        service.url = str(server.make_url("/")).rstrip("/")
        yield service


async def send(url, *, step=STEP, **fields):
    async with a_kind(HttpKind) as kind:
        return await kind.execute(step, Http.model_validate({"url": url, **fields}))


async def test_the_output_is_the_status_the_headers_and_the_parsed_body(service):
    service.answer = lambda _: web.json_response({"id": 7}, headers={"X-Trace": "a", "Set-Cookie": "a=1"})
    output = (await send(f"{service.url}/orders")).output
    assert (output["status"], output["body"]) == (200, {"id": 7})
    assert (output["headers"]["x-trace"], output["headers"]["content-type"]) == ("a", "application/json; charset=utf-8")


@pytest.mark.parametrize(
    ("content_type", "body", "seen"),
    [
        ("application/json", b'{"a":1}', {"a": 1}),
        ("application/problem+json; charset=utf-8", b"[1]", [1]),
        ("application/json", b"", None),
        ("application/json", b"not json", "not json"),
        ("text/plain", b'{"a":1}', '{"a":1}'),
        ("text/plain; charset=iso-8859-1", "Åre".encode("latin-1"), "Åre"),
        ("text/plain; charset=martian", "Åre".encode(), "Åre"),
        ("text/plain; charset=zlib", "Åre".encode(), "Åre"),
        ("application/octet-stream", b"\xff\x00", "\ufffd\x00"),
    ],
)
async def test_a_body_is_json_when_its_type_and_its_text_say_so_else_text(service, content_type, body, seen):
    service.answer = lambda _: web.Response(body=body, headers={"Content-Type": content_type})
    assert (await send(service.url)).output["body"] == seen


@pytest.mark.parametrize(
    ("body", "sent", "content_type"),
    [
        ({"a": [1, None]}, b'{"a":[1,null]}', "application/json"),
        ([], b"[]", "application/json"),
        (False, b"false", "application/json"),
        ("Åre", "Åre".encode(), "text/plain; charset=utf-8"),
        (None, b"", None),
    ],
)
async def test_a_body_is_sent_as_json_or_as_the_text_it_is(service, body, sent, content_type):
    await send(service.url, method="POST", body=body)
    assert service.bodies == [sent]
    if content_type:
        assert service.requests[0].headers["Content-Type"] == content_type


async def test_every_attempt_carries_the_same_idempotency_key_and_the_trace(service):
    for attempt in (1, 2):
        await send(service.url, method="POST", step=a_step(attempt=attempt))
    assert {request.headers["Idempotency-Key"] for request in service.requests} == {STEP.idempotency_key}
    assert service.requests[0].headers["traceparent"] == STEP.traceparent


async def test_headers_that_the_user_set_are_kept_whatever_their_case(service):
    headers = {"idempotency-key": "mine", "content-type": "application/vnd.x+json", "X-Count": 3, "X-On": True}
    await send(service.url, method="POST", body={}, headers=headers)
    seen = service.requests[0].headers
    assert seen.getall("Idempotency-Key") == ["mine"]
    assert seen.getall("Content-Type") == ["application/vnd.x+json"]
    assert (seen["X-Count"], seen["X-On"]) == ("3", "true")


async def test_query_parameters_join_those_of_the_url(service):
    await send(f"{service.url}/?a=1", query={"b": "x y&z", "c": [1, True], "d": None})
    assert list(service.requests[0].query.items()) == [("a", "1"), ("b", "x y&z"), ("c", "1"), ("c", "true")]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"headers": {"X-A": "secret\r\nX-B: 1"}}, "http.headers['X-A']: holds a line break"),
        ({"headers": {"X-A\r\nX-B": "secret"}}, "not a header name"),
        ({"headers": {"Content-Length": "9"}}, "http.headers['Content-Length']: is set from the body"),
        ({"url": "file:///etc/secret"}, "http.url: found scheme 'file', expected http or https"),
        ({"url": "http://"}, "http.url: it names no host"),
        ({"url": "http://[secret"}, "http.url: not a URL"),
        ({"url": "http://x:secret@host:port/"}, "http.url: not a URL"),
    ],
)
async def test_what_cannot_be_sent_is_refused_before_it_is_without_showing_it(fields, field):
    error = (await send(**{"url": "http://127.0.0.1:9/", **fields})).error
    assert (error.type, error.retriable) == ("Invalid", False)
    assert field in error.message
    assert "secret" not in error.message


@pytest.mark.parametrize(
    ("status", "retriable"),
    [(400, False), (404, False), (408, True), (409, False), (425, True), (429, True), (500, True), (503, True)],
)
async def test_an_unexpected_status_fails_and_says_whether_another_try_may_help(service, status, retriable):
    service.answer = lambda _: web.Response(status=status, text="no")
    error = (await send(f"{service.url}/pay?token=secret")).error
    assert (error.type, error.retriable, error.details) == ("HttpStatus", retriable, {"status": status, "body": "no"})
    assert error.message.startswith(f"GET {service.url}/pay answered {status} ")
    assert error.message.endswith("; expected 2xx")


async def test_a_status_that_is_expected_is_a_success(service):
    service.answer = lambda _: web.Response(status=404)
    assert (await send(service.url, expect=["2xx", 404])).output["status"] == 404
    assert (await send(service.url, expect=[200])).error.details["status"] == 404


async def test_the_body_of_an_unexpected_answer_is_cut(service):
    service.answer = lambda _: web.Response(status=500, text="x" * 1_000_000)
    assert (await send(service.url)).error.details["body"] == "x" * EXCERPT


async def test_retry_after_is_told_in_seconds(service):
    service.answer = lambda _: web.Response(status=503, headers={"Retry-After": "7"})
    assert (await send(service.url)).error.details["retryAfter"] == 7


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("9" * 5000, None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    ],
)
def test_retry_after_holds_seconds_or_a_date(header, seconds):
    assert retry_after(header, NOW) == seconds


def redirection(target):
    return web.Response(status=302, headers={"Location": target})


async def test_redirects_are_not_followed_unless_asked_for(service):
    service.answer = lambda request: (
        web.Response(text="here") if request.path == "/new" else redirection(f"{service.url}/new")
    )
    error = (await send(f"{service.url}/old")).error
    assert (error.details["status"], error.retriable, len(service.requests)) == (302, False, 1)
    assert (await send(f"{service.url}/old", followRedirects=True)).output["body"] == "here"


async def test_a_redirect_without_end_fails_for_good(service):
    service.answer = lambda _: redirection(f"{service.url}/again?token=secret")
    error = (await send(service.url, followRedirects=True)).error
    assert (error.type, error.reason, error.retriable) == ("Connection", "TooManyRedirects", False)
    assert "secret" not in error.message


async def test_a_redirect_to_a_file_is_not_followed(service):
    service.answer = lambda _: redirection("file:///etc/passwd")
    error = (await send(service.url, followRedirects=True)).error
    assert (error.type, error.reason, error.retriable) == ("Connection", "BadRedirect", False)


async def test_an_answer_over_the_limit_is_given_up_while_it_streams(service):
    sent = 0

    async def stream(request):
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(10_000):
            await response.write(b"x" * 10_000)
            sent += 10_000
        return response

    service.answer = stream
    error = (await send(service.url, maxResponseBytes=50_000)).error
    assert (error.type, error.retriable, error.details) == ("TooLarge", False, {"limit": 50_000})
    assert sent < 50_000_000


async def test_the_limit_holds_after_decompression(service):
    bomb = zlib.compress(b"x" * 50_000_000)
    service.answer = lambda _: web.Response(body=bomb, headers={"Content-Encoding": "deflate"})
    assert len(bomb) < 100_000
    assert (await send(service.url, maxResponseBytes=100_000)).error.type == "TooLarge"


async def test_nobody_listening_is_a_connection_error_that_shows_no_credentials():
    error = (await send(f"http://user:secret@127.0.0.1:{unused_port()}/x?token=secret#secret")).error
    assert (error.type, error.reason, error.retriable) == ("Connection", "NotConnected", True)
    assert "/x got no answer: Connect call failed" in error.message
    assert "secret" not in error.message
    assert "user" not in error.message


async def test_a_name_that_nobody_knows_is_a_connection_error():
    error = (await send("http://nowhere.invalid/")).error
    assert (error.type, error.reason) == ("Connection", "NameNotResolved")


@asynccontextmanager
async def speaking(talk):
    """A server of bytes: what an HTTP server would never do."""

    async def handle(reader, writer):
        try:
            await talk(reader, writer)
        finally:
            writer.close()
            await writer.wait_closed()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_a_server_that_hangs_up_is_a_connection_error():
    async def hang_up(reader, _writer):
        await reader.readuntil(b"\r\n\r\n")

    async with speaking(hang_up) as url:
        error = (await send(url, method="POST")).error
    assert (error.type, error.reason, error.retriable) == ("Connection", "ConnectionLost", True)


async def test_a_body_that_breaks_off_is_a_connection_error():
    async def break_off(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    async with speaking(break_off) as url:
        error = (await send(url)).error
    assert (error.type, error.retriable) == ("Connection", True)


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path):
    service = Service()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.handle)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=a_self_signed_context(tmp_path))
    try:
        error = (await send(str(server.make_url("/")))).error
    finally:
        await server.close()
    assert (error.type, error.reason) == ("Connection", "Tls")
    assert service.requests == []


def a_self_signed_context(directory):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=10_000))
        .not_valid_after(NOW + timedelta(days=10_000))
        .sign(key, hashes.SHA256())
    )
    pem = directory / "server.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


async def test_cookies_do_not_travel_to_the_next_request(service):
    service.answer = lambda _: web.Response(headers={"Set-Cookie": "session=1; Path=/"})
    async with a_kind(HttpKind) as kind:
        for _ in range(2):
            await kind.execute(STEP, Http(url=service.url.replace("127.0.0.1", "localhost")))
    assert "Cookie" not in service.requests[1].headers


async def test_one_connection_serves_the_requests_that_follow_each_other(service):
    async with a_kind(HttpKind) as kind:
        for _ in range(3):
            await kind.execute(STEP, Http(url=service.url))
    assert len({request.transport for request in service.requests}) == 1


async def test_cancelling_closes_the_connection():
    reached, closed = asyncio.Event(), asyncio.Event()

    async def wait(reader, _writer):
        await reader.readuntil(b"\r\n\r\n")
        reached.set()
        assert await reader.read() == b""
        closed.set()

    async with speaking(wait) as url:
        task = asyncio.ensure_future(send(url))
        await asyncio.wait_for(reached.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(closed.wait(), 10)


class Rebinding(AbstractResolver):
    """Says of every name that it is this machine."""

    async def resolve(self, host, port=0, family=0):  # noqa: ARG002 - aiohttp's signature
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]

    async def close(self): ...


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "public.example"])  # noqa: S104
async def test_without_private_networks_no_way_leads_to_this_machine(service, host):
    async with a_kind(HttpKind, http_private_networks=False) as kind:
        kind._session = kind._open()
        if host == "public.example":
            kind._session.connector._resolver = Rebinding()
        outcome = await kind.execute(STEP, Http(url=service.url.replace("127.0.0.1", host)))
    assert isinstance(outcome, Failed)
    assert (outcome.error.type, outcome.error.reason, outcome.error.retriable) == (
        "Connection",
        "PrivateNetwork",
        False,
    )
    assert "forbids steps to reach private networks" in outcome.error.message
    assert service.requests == []


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "172.16.5.4",
        "192.168.1.1",
        "127.9.9.9",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",  # noqa: S104
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
    ],
)
def test_an_address_that_is_not_of_the_public_internet_is_seen_through_any_wrapping(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_an_address_of_the_public_internet_is_one(address):
    assert is_public(address)


async def test_private_networks_are_reached_by_default(service):
    assert isinstance(await send(service.url), Succeeded)
