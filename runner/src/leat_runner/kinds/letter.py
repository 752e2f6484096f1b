"""The fields of an email step as a letter with its envelope. Pure: what is wrong is said before anything is sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from leat_engine.kind import StepContext
from leat_engine.spec.email import Email

RECIPIENTS = 100
"""Of `to`, `cc` and `bcc` together; servers need take no more in one mail (RFC 5321, section 4.5.3.1.8)."""


class BadLetter(Exception):
    """The fields cannot be sent. The message names the field, never its value."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail, and to whom the server is to give it: the letter itself does not tell of blind copies."""

    message: EmailMessage
    sender: str
    recipients: tuple[str, ...]

    @property
    def id(self) -> str:
        """Its ``Message-ID``."""
        return str(self.message["Message-ID"])


def letter_of(step: StepContext, fields: Email, now: datetime) -> Letter:
    """Write the letter.

    Raises:
        BadLetter: A field cannot be sent.
    """
    sender = _address("email.from", fields.sender)
    to = list(_addresses("email.to", fields.to))
    cc = list(_addresses("email.cc", fields.cc))
    bcc = list(_addresses("email.bcc", fields.bcc))
    recipients = tuple(dict.fromkeys(one.addr_spec for one in [*to, *cc, *bcc]))
    if len(recipients) > RECIPIENTS:
        raise BadLetter(f"email: has {len(recipients)} recipients, and one mail may have {RECIPIENTS}")
    if "\n" in fields.subject or "\r" in fields.subject:
        raise BadLetter("email.subject: holds a line break, which no header may; remove it")
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    if to:
        message["To"] = to
    if cc:
        message["Cc"] = cc
    if fields.reply_to is not None:
        message["Reply-To"] = _address("email.replyTo", fields.reply_to)
    message["Subject"] = fields.subject
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{step.idempotency_key.replace('/', '.')}@{sender.domain}>"
    _fill(message, fields)
    return Letter(message, sender.addr_spec, recipients)


def _fill(message: EmailMessage, fields: Email) -> None:
    if fields.text is not None:
        message.set_content(fields.text)
        if fields.html is not None:
            message.add_alternative(fields.html, subtype="html")
    elif fields.html is not None:
        message.set_content(fields.html, subtype="html")


def _addresses(path: str, written: Sequence[str]) -> Iterator[Address]:
    for index, one in enumerate(written):
        yield _address(f"{path}[{index}]", one)


def _address(path: str, written: str) -> Address:
    expected = "expected one address such as shop@example.com or The shop <shop@example.com>"
    if not written.isprintable():
        raise BadLetter(f"{path}: holds a line break or another control character; {expected}")
    found = _parsed(written)
    if found is None:
        raise BadLetter(f"{path}: is no address; {expected}")
    return found


def _parsed(written: str) -> Address | None:
    """The one address that is written, or None."""
    try:
        header = SMTP.header_factory("To", written)
    except (IndexError, ValueError, HeaderParseError):  # the parser has no one word for what it cannot read
        return None
    if len(header.addresses) != 1 or header.defects:
        return None
    (found,) = header.addresses
    return found if found.username and found.domain else None
