"""email: one mail by SMTP, on a connection of its own; the only module that talks to mail servers.

A mail server forgets what it took, so a mail whose answer got lost is sent again: the same `Message-ID` lets readers'
programs show it once.
"""

import asyncio
import ssl
from contextlib import suppress
from typing import Any, ClassVar

import aiosmtplib

from leat_engine.kind import StepContext, Weight
from leat_engine.result import ErrorType, Failed, Outcome, StepError
from leat_engine.spec.email import Email
from leat_runner.kinds.address import Address, BadAddress, Rule, address_of
from leat_runner.kinds.letter import BadLetter, Letter, letter_of
from leat_runner.kinds.network import PrivateAddress, connected
from leat_runner.kinds.output import details, succeeded
from leat_runner.kinds.setup import KindSetup

SEND_TIMEOUT = 60.0
"""Seconds for steps without a ``timeout``."""

QUIT_TIMEOUT = 2.0

RULE = Rule("email.url", {"smtp": 587, "smtps": 465}, "smtp://HOST:587")


class EmailKind:
    """Sends mails."""

    weight: ClassVar[Weight] = Weight.IO

    def __init__(self, setup: KindSetup) -> None:
        self._clock = setup.clock
        self._public_only = not setup.settings.http_private_networks

    async def execute(self, step: StepContext, fields: Email) -> Outcome:
        """Send the mail once. The output is ``{messageId, refused}``."""
        try:
            address = address_of(RULE, fields.url, fields.username, fields.password)
            _check_password(address, fields)
            letter = letter_of(step, fields, self._clock())
        except (BadAddress, BadLetter) as error:
            return Failed(StepError(ErrorType.INVALID, str(error), retriable=False))
        try:
            # A step with a timeout is cut by the runner.
            async with asyncio.timeout(SEND_TIMEOUT if step.timeout is None else None):
                refused = await self._sent(address, letter, starttls=fields.starttls)
        except TimeoutError:
            text = f"{address} did not take the mail within {SEND_TIMEOUT:g} s; it may have been sent"
            return Failed(StepError(ErrorType.TIMEOUT, text))
        except (aiosmtplib.SMTPException, OSError) as error:
            return Failed(_error(address, error))
        return succeeded({"messageId": letter.id, "refused": refused})

    async def close(self) -> None:
        """Nothing is held."""

    async def _sent(self, address: Address, letter: Letter, *, starttls: bool) -> list[dict[str, Any]]:
        """Send it, and give the recipients that the server refused while it took others."""
        sock = await connected(address.host, address.port, guarded=self._public_only)
        try:
            client = aiosmtplib.SMTP(
                hostname=address.host,
                sock=sock,
                username=address.username,
                password=address.password,
                use_tls=address.scheme == "smtps",
                start_tls=starttls if address.scheme == "smtp" else False,
                # Not the machine's name, which would be looked up, and is nobody's business.
                local_hostname=_literal(sock.getsockname()[0]),
                timeout=None,
            )
        except BaseException:
            sock.close()
            raise
        try:
            await client.connect()
            errors, _ = await client.send_message(letter.message, sender=letter.sender, recipients=letter.recipients)
        except BaseException:
            client.close()
            raise
        await _leave(client)
        return [
            {"recipient": recipient, "code": answer.code, "message": answer.message}
            for recipient, answer in errors.items()
        ]


async def _leave(client: aiosmtplib.SMTP) -> None:
    """Say goodbye. The mail is sent, so no silence and no error may make it look as if it were not."""
    with suppress(OSError, aiosmtplib.SMTPException):
        async with asyncio.timeout(QUIT_TIMEOUT):
            await client.quit()
    client.close()


def _check_password(address: Address, fields: Email) -> None:
    if address.password is not None and address.scheme == "smtp" and not fields.starttls:
        raise BadAddress("email.password: would go in clear text; leave `starttls` out, or use smtps://")
    if (address.password is None) != (address.username is None):
        raise BadAddress("email.url: expected both a user and a password, or neither")


def _literal(host: str) -> str:
    """An address as a name, RFC 5321 section 4.1.3."""
    return f"[IPv6:{host}]" if ":" in host else f"[{host}]"


def _error(address: Address, error: Exception) -> StepError:
    match error:
        case PrivateAddress() as private:
            return _lost(address, str(private.strerror), "PrivateNetwork", retriable=False)
        case aiosmtplib.SMTPAuthenticationError():
            return _refused(address, error, "NotLoggedIn")
        case aiosmtplib.SMTPRecipientsRefused():
            told = [{"recipient": one.recipient, "code": one.code, "message": one.message} for one in error.recipients]
            text = f"{address} refuses every recipient: {told[0]['code']} {told[0]['message']}"
            retriable = all(one.code < 500 for one in error.recipients)
            more = details({"code": told[0]["code"], "refused": told})
            return StepError(ErrorType.MAIL, text, reason="RecipientsRefused", retriable=retriable, details=more)
        case aiosmtplib.SMTPSenderRefused():
            return _refused(address, error, "SenderRefused")
        case aiosmtplib.SMTPResponseException():
            return _refused(address, error, "NotAccepted")
        case ssl.SSLError():
            return _lost(address, f"TLS: {error.reason}", "Tls", retriable=True)
        case aiosmtplib.SMTPException() if not isinstance(error, OSError):
            text = f"{address}: {error.message} Without TLS a mail is sent only with `starttls: false`"
            return StepError(ErrorType.MAIL, text, reason="NotSupported", retriable=False)
        case _:
            return _lost(address, getattr(error, "strerror", None) or str(error), "ConnectionLost", retriable=True)


def _refused(address: Address, error: aiosmtplib.SMTPResponseException, reason: str) -> StepError:
    # 4xx asks for another try, 5xx forbids one (RFC 5321, section 4.2.1).
    return StepError(
        ErrorType.MAIL,
        f"{address} answered {error.code} {error.message}",
        reason=reason,
        retriable=error.code < 500,
        details={"code": error.code},
    )


def _lost(address: Address, cause: str, reason: str, *, retriable: bool) -> StepError:
    text = f"{address} did not take the mail: {cause}"
    return StepError(ErrorType.CONNECTION, text, reason=reason, retriable=retriable)
