"""What came back over http, as a value or as an error. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import orjson

from leat_engine.result import ErrorType, StepError
from leat_runner.kinds.request import Request

RETRIABLE = frozenset({408, 425, 429})
"""Besides 5xx: the server asks for another try."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer read to its end, or as far as it is of use. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def as_json(self) -> dict[str, Any]:
        """The output of an http step."""
        return {"status": self.status, "headers": dict(self.headers), "body": self.value()}

    def value(self) -> Any:
        """The body: what JSON says if the content type is JSON and the text is too, else text.

        The work is done when the answer comes, so a server that mislabels its answer does not make the step fail.
        """
        content_type, _, parameters = self.headers.get("content-type", "").partition(";")
        content_type = content_type.strip().lower()
        if content_type == "application/json" or content_type.endswith("+json"):
            try:
                return orjson.loads(self.body) if self.body else None
            except orjson.JSONDecodeError:
                return self.text()
        return self.text(_charset(parameters))

    def text(self, charset: str = "utf-8") -> str:
        """The body as text, in UTF-8 if there is no such charset."""
        try:
            return self.body.decode(charset, errors="replace")
        except (LookupError, ValueError):
            return self.body.decode(errors="replace")


def unexpected(request: Request, answer: Answer, expect: list[str], now: datetime) -> StepError:
    """The error of an answer with another status than the expected ones. Its body goes into the details."""
    status = answer.status
    details: dict[str, Any] = {"status": status, "body": answer.text()}
    wait = retry_after(answer.headers.get("retry-after", ""), now)
    if wait is not None:
        details["retryAfter"] = wait
    message = f"{request} answered {_status_text(status)}; expected {', '.join(expect)}"
    return StepError(ErrorType.HTTP_STATUS, message, retriable=status in RETRIABLE or status >= 500, details=details)


def retry_after(value: str, now: datetime) -> int | None:
    """Seconds of a ``Retry-After`` header, which holds seconds or a date; None when it holds neither."""
    if value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0, round((at - now).total_seconds()))


def _charset(parameters: str) -> str:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "charset":
            return value.strip("\"'")
    return "utf-8"


def _status_text(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
