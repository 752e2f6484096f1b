"""The fields of the `email` kind."""

from typing import Annotated, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from leat_engine import limits
from leat_engine.spec.kinds import Outward
from leat_engine.spec.model import Model
from leat_engine.spec.places import check_scheme, is_written

Address = Annotated[str, Field(min_length=3, max_length=512)]
Addresses = Annotated[list[Address], Field(max_length=100)]
Words = Annotated[str | None, Outward(), Field(max_length=limits.OUTPUT_BYTES)]


class Email(Model):
    """Sends a mail by SMTP. The output is `{messageId, refused}`; the latter tells of each recipient that was refused.

    The `Message-ID` is made of the idempotency key of the step and is the same for all its attempts. More, with errors:
    docs/how-to/databases-brokers-mail.md.
    """

    url: Annotated[str, Outward(), Field(min_length=1, max_length=8192)]
    """The mail server: `smtp://HOST:587`, which is asked for TLS, or `smtps://HOST:465`, which speaks it at once."""
    starttls: bool = True
    """Whether `smtp://` has to lead to TLS. With false the mail goes in clear text, and no password is sent."""
    username: Annotated[str | None, Outward()] = None
    """Who logs in, instead of the URL's user."""
    password: Annotated[str | None, Outward()] = None
    """The password, instead of the URL's; here its characters need no escaping."""
    sender: Annotated[Address, Field(alias="from")]
    """Who sends it: `shop@example.com` or `The shop <shop@example.com>`."""
    to: Addresses = Field(default_factory=list)
    """Recipients."""
    cc: Addresses = Field(default_factory=list)
    """Recipients of a copy."""
    bcc: Addresses = Field(default_factory=list)
    """Recipients whom the others do not see."""
    reply_to: Address | None = None
    """Where answers go, if not to the sender."""
    subject: Annotated[str, Outward(), Field(max_length=998)] = ""
    """The subject, one line."""
    text: Words = None
    """The mail as text."""
    html: Words = None
    """The mail as HTML; with `text` too, the reader's program chooses."""

    @field_validator("url")
    @classmethod
    def _leads_to_a_mail_server(cls, url: str, info: ValidationInfo) -> str:
        return check_scheme(url, ("smtp", "smtps"), "smtp://HOST:587") if is_written(info) else url

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        if self.text is None and self.html is None:
            raise ValueError("expected `text`, `html` or both")
        if not (self.to or self.cc or self.bcc):
            raise ValueError("has no recipient; expected at least one in `to`, `cc` or `bcc`")
        return self
