import asyncio
from email import message_from_bytes, policy

import pytest
from aiohttp.test_utils import unused_port
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from tests.support.steps import NOW, STEP, a_setup, a_step
from tests.support.tls import a_certificate

from leat_engine.result import Failed, Succeeded
from leat_engine.spec.email import Email
from leat_runner.kinds import mail
from leat_runner.kinds.mail import EmailKind

FIELDS = {
    "from": "The shop <shop@x.example>",
    "to": ["ann@y.example"],
    "subject": "Order A-17",
    "text": "It is paid.\n",
}
SHOP = {"username": "shop", "password": "right"}
MESSAGE_ID = "<0190a6c0-0000-7000-8000-000000000001.0.3@x.example>"


class Post:
    """A mail server that keeps what it is given."""

    def __init__(self):
        self.envelopes = []
        self.answer = "250 OK"
        self.refuses = {}
        self.logins = []

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802  the hook's name
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, session, envelope):  # noqa: N802  the same
        if self.answer.startswith("2"):
            self.envelopes.append((envelope, session))
        return self.answer

    def authenticate(self, _server, _session, _envelope, _mechanism, data):
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)

    def letter(self):
        ((envelope, _),) = self.envelopes
        return message_from_bytes(envelope.content, policy=policy.default)


@pytest.fixture
async def post(monkeypatch, tmp_path):
    post = Post()
    server_context, trusted = a_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    loop = asyncio.get_running_loop()

    def protocol():
        return SMTP(
            post,
            loop=loop,
            hostname="mail.y.example",
            tls_context=server_context,
            authenticator=post.authenticate,
            auth_require_tls=True,
        )

    server = await loop.create_server(protocol, "127.0.0.1", 0)
    post.port = server.sockets[0].getsockname()[1]
    post.url = f"smtp://localhost:{post.port}"
    yield post
    server.close()
    await server.wait_closed()


async def send(url, *, step=STEP, settings=None, **fields):
    kind = EmailKind(a_setup(**(settings or {})))
    try:
        return await kind.execute(step, Email.model_validate({"url": url, **FIELDS, **fields}))
    finally:
        await kind.close()


def failed(outcome):
    assert isinstance(outcome, Failed), outcome
    return outcome.error


async def test_a_mail_is_sent_over_tls_and_its_id_is_that_of_the_step(post):
    assert await send(post.url) == Succeeded({"messageId": MESSAGE_ID, "refused": []})
    ((envelope, session),) = post.envelopes
    assert session.ssl is not None
    assert (envelope.mail_from, envelope.rcpt_tos) == ("shop@x.example", ["ann@y.example"])
    letter = post.letter()
    assert (letter["From"], letter["To"]) == ("The shop <shop@x.example>", "ann@y.example")
    assert (letter["Subject"], letter["Message-ID"]) == ("Order A-17", MESSAGE_ID)
    assert letter["Date"].datetime == NOW
    assert letter.get_content().splitlines() == ["It is paid."]


async def test_a_second_attempt_has_the_same_id(post):
    for attempt in (1, 2):
        await send(post.url, step=a_step(attempt=attempt))
    ids = {message_from_bytes(envelope.content)["Message-ID"] for envelope, _ in post.envelopes}
    assert ids == {MESSAGE_ID}


async def test_blind_copies_are_delivered_and_not_told(post):
    await send(post.url, cc=["Bea <bea@y.example>"], bcc=["cy@y.example", "ann@y.example"])
    ((envelope, _),) = post.envelopes
    assert envelope.rcpt_tos == ["ann@y.example", "bea@y.example", "cy@y.example"]
    assert b"cy@y.example" not in envelope.content


async def test_text_and_html_are_two_forms_of_one_mail(post):
    await send(post.url, subject="Bestellung für Åre", html="<p>Bezahlt: 5 €</p>", replyTo="desk@x.example")
    letter = post.letter()
    assert letter["Subject"] == "Bestellung für Åre"
    assert letter["Reply-To"] == "desk@x.example"
    assert letter.get_content_type() == "multipart/alternative"
    assert letter.get_body(("html",)).get_content().strip() == "<p>Bezahlt: 5 €</p>"
    assert letter.get_body(("plain",)).get_content().strip() == "It is paid."


async def test_a_password_travels_over_tls(post):
    assert isinstance(await send(post.url, **SHOP), Succeeded)
    assert post.logins == [(b"shop", b"right")]


async def test_a_wrong_password_is_told_and_not_tried_again(post):
    error = failed(await send(post.url, **(SHOP | {"password": "wrong"})))
    assert (error.type, error.reason, error.retriable, error.details) == ("Mail", "NotLoggedIn", False, {"code": 535})
    assert "wrong" not in error.message


async def test_a_password_is_not_sent_in_clear_text(post):
    error = failed(await send(post.url, starttls=False, **SHOP))
    assert (error.type, error.retriable) == ("Invalid", False)
    assert "would go in clear text" in error.message
    assert post.logins == []


async def test_a_server_without_tls_is_told_unless_the_step_says_it_may(post, monkeypatch):
    async def plain(_server, session, _envelope, hostname, _responses):
        session.host_name = hostname
        return ["250 HELP"]

    monkeypatch.setattr(post, "handle_EHLO", plain, raising=False)
    error = failed(await send(post.url))
    assert (error.type, error.reason, error.retriable) == ("Mail", "NotSupported", False)
    assert "`starttls: false`" in error.message
    assert isinstance(await send(post.url, starttls=False), Succeeded)


async def test_a_certificate_that_nobody_vouches_for_ends_it(post, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    error = failed(await send(post.url))
    assert (error.type, error.reason) == ("Connection", "Tls")
    assert post.envelopes == []


async def test_what_one_recipient_is_refused_for_is_in_the_output(post):
    post.refuses = {"bea@y.example": "550 no such user"}
    outcome = await send(post.url, cc=["bea@y.example"])
    refused = [{"recipient": "bea@y.example", "code": 550, "message": "no such user"}]
    assert outcome == Succeeded({"messageId": MESSAGE_ID, "refused": refused})


@pytest.mark.parametrize(("answer", "retriable"), [("450 later", True), ("550 no such user", False)])
async def test_a_mail_that_nobody_may_get_fails(post, answer, retriable):
    post.refuses = {"ann@y.example": answer}
    error = failed(await send(post.url))
    assert (error.type, error.reason, error.retriable) == ("Mail", "RecipientsRefused", retriable)
    assert error.details["refused"][0]["recipient"] == "ann@y.example"


@pytest.mark.parametrize(("answer", "retriable"), [("451 try again", True), ("554 no spam", False)])
async def test_the_servers_answer_says_whether_another_try_helps(post, answer, retriable):
    post.answer = answer
    error = failed(await send(post.url))
    code = int(answer[:3])
    assert (error.type, error.retriable, error.details) == ("Mail", retriable, {"code": code})
    assert answer in error.message


async def test_nobody_there_is_worth_another_try():
    error = failed(await send(f"smtp://127.0.0.1:{unused_port()}"))
    assert (error.type, error.retriable) == ("Connection", True)


async def test_a_guarded_pool_does_not_write_to_its_own_network(post):
    error = failed(await send(post.url, settings={"http_private_networks": False}))
    assert (error.type, error.reason, error.retriable) == ("Connection", "PrivateNetwork", False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"from": "shop"}, "email.from: is no address"),
        ({"from": "a@x.example, b@x.example"}, "email.from: is no address"),
        ({"to": ["ann@y.example", "x@y.example\nBcc: all@y.example"]}, "email.to[1]: holds a line break"),
        ({"to": ["ann@"]}, "email.to[0]: is no address"),
        ({"subject": "hi\nBcc: all@y.example"}, "email.subject: holds a line break"),
        ({"replyTo": "desk"}, "email.replyTo: is no address"),
        ({"to": [f"a{n}@y.example" for n in range(60)], "cc": [f"c{n}@y.example" for n in range(60)]}, "may have 100"),
        ({"username": "shop"}, "expected both a user and a password"),
    ],
)
async def test_what_cannot_be_sent_is_said_before_anything_is_sent(fields, message):
    error = failed(await send("smtp://127.0.0.1:1", **fields))
    assert (error.type, error.retriable) == ("Invalid", False)
    assert message in error.message


async def test_a_server_that_does_not_say_goodbye_has_taken_the_mail_all_the_same(post, monkeypatch):
    async def silent(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr(mail, "QUIT_TIMEOUT", 0.05)
    monkeypatch.setattr(post, "handle_QUIT", silent, raising=False)
    assert isinstance(await send(post.url), Succeeded)


async def test_a_cancel_does_not_wait_for_the_servers_answer(post, monkeypatch):
    reached = asyncio.Event()

    async def silent(*_):
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(post, "handle_DATA", silent)
    task = asyncio.create_task(send(post.url))
    await reached.wait()
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=30)
    assert done
    assert task.cancelled()


async def test_a_cancel_closes_the_connection():
    reached, closed = asyncio.Event(), asyncio.Event()

    async def silent(reader, writer):
        reached.set()
        assert await reader.read() == b""
        writer.close()
        closed.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    task = asyncio.create_task(send(f"smtp://127.0.0.1:{port}"))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await closed.wait()
    server.close()
    await server.wait_closed()
