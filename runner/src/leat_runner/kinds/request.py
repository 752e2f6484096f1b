"""The fields of an http step as a request on the wire. Pure: what is wrong is said before anything is sent."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from multidict import CIMultiDict
from yarl import URL

from leat_engine.kind import StepContext
from leat_engine.spec.kinds import Http

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header name, RFC 9110 section 5.6.2."""

BREAKS_FRAMING = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What ends a header early or hides the rest of it; a tab is allowed."""

FRAMING = frozenset({"content-length", "transfer-encoding"})


class BadRequest(Exception):
    """The fields cannot be sent. The message names the field, never its value."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready to send. As text it is safe to show: no query, no credentials, no fragment."""

    method: str
    url: URL
    headers: CIMultiDict[str]
    body: bytes | None

    def __str__(self) -> str:
        return f"{self.method} {self.url.with_user(None).with_query(None).with_fragment(None)}"


def request_of(step: StepContext, fields: Http) -> Request:
    """Build the request: the user's headers, and those of Leat that the user did not set.

    Raises:
        BadRequest: A field cannot be sent.
    """
    body, content_type = _body(fields.body)
    headers = _headers(fields.headers)
    headers.setdefault("Idempotency-Key", step.idempotency_key)
    if step.traceparent:
        headers.setdefault("traceparent", step.traceparent)
    if content_type:
        headers.setdefault("Content-Type", content_type)
    return Request(fields.method, _url(fields.url, fields.query), headers, body)


def _url(text: str, query: Mapping[str, Any]) -> URL:
    try:
        url = URL(text)
        port = url.port
    except ValueError as error:
        raise BadRequest("http.url: not a URL; write it as https://host/path") from error
    if url.scheme not in {"http", "https"}:
        raise BadRequest(f"http.url: found scheme '{url.scheme}', expected http or https")
    if not url.host or not port:
        raise BadRequest("http.url: it names no host; write it as https://host/path")
    pairs = [(name, _text(item)) for name, value in query.items() for item in _items(value) if item is not None]
    return url.extend_query(pairs) if pairs else url


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _headers(given: Mapping[str, Any]) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in given.items():
        path = f"http.headers[{name!r}]"
        if not TOKEN.fullmatch(name):
            raise BadRequest(f"{path}: not a header name; use letters, digits and '-'")
        if name.lower() in FRAMING:
            raise BadRequest(f"{path}: is set from the body and cannot be given; remove it")
        text = _text(value)
        if BREAKS_FRAMING.search(text):
            raise BadRequest(f"{path}: holds a line break or another control character, which no header may; remove it")
        headers[name] = text
    return headers


def _body(value: Any) -> tuple[bytes | None, str]:
    if value is None:
        return None, ""
    if isinstance(value, str):
        return value.encode(errors="replace"), "text/plain; charset=utf-8"
    return orjson.dumps(value), "application/json"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
