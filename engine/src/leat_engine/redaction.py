"""Takes out what nobody may see: sensitive inputs when a run is shown, secrets before anything is stored.

`Redaction` hides the sensitive inputs of a run wherever a step has copied them to; what the store holds stays whole.
`Redactor` masks the values of ``secret()`` in all that leaves an attempt, also in the forms that programs give them on
their way: base64, URL-encoded, escaped for JSON, Python or HTML, cut off at an end.
"""

import html
import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
MASK = "***"

SHORTEST = 4
"""Characters. A shorter value is part of ordinary words: replacing it inside texts would tell it by what is missing."""

_CUT = 32
"""Characters. A shorter text was not cut by anything, so its beginning and end are whole words."""

_PIECE = 12
"""Characters of the beginning or end of a secret that are known for a piece of it in the middle of a text."""

_FEW = 64
"""Forms that are looked for one by one."""

_YARL = "/?:@-._~!$'()*,"
"""What the HTTP client leaves as it is in a query."""

_WRAPPED = (64, 76)
"""Where base64 is broken into lines: PEM, and the program of that name."""

Text = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Redaction:
    """What must not be shown of one run: every scalar in its sensitive inputs, as text, and what came from others."""

    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, sensitive: frozenset[str], inputs: Mapping[str, Any], hidden: Iterable[str] = ()) -> "Redaction":
        """The redaction of a run with these inputs, ``sensitive`` being the names of those that are.

        ``hidden``: texts that are sensitive in runs which gave them to this one.
        """
        found = {text for name in sensitive for text in scalars(inputs.get(name)) if text}.union(hidden)
        return cls(tuple(sorted(found, key=len, reverse=True)))  # longest first: one value may hold another one

    def also(self, hidden: Iterable[str]) -> "Redaction":
        """The same with further texts."""
        return Redaction(tuple(sorted({*self.texts, *hidden}, key=len, reverse=True)))

    def text(self, text: str) -> str:
        """The text with nothing sensitive left in it."""
        if text in self.texts:
            return REDACTED
        for secret in self.texts:
            if len(secret) >= SHORTEST:
                text = text.replace(secret, REDACTED)
        return text

    def value(self, value: Any) -> Any:
        """The JSON value with nothing sensitive left in it, keys included."""
        return _walked(value, self.text, self._number) if self.texts else value

    def _number(self, number: float) -> Any:
        return REDACTED if str(number) in self.texts else number


class Redactor:
    """Masks secrets. Values shorter than `SHORTEST` are left alone, lines of longer ones are not.

    Args:
        values: The secrets, and what expressions made of them: JSON values, of which texts and numbers count.
    """

    __slots__ = ("_ends", "_forms", "_numbers")

    def __init__(self, values: Iterable[Any]) -> None:
        plain = {line for value in values for text in scalars(value) for line in _lines(text)}
        forms = {form for text in plain for form in _forms(text) if len(form) >= SHORTEST}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))
        self._ends = [frozenset((form[:SHORTEST], form[-SHORTEST:])) for form in self._forms]
        self._numbers = frozenset(number for text in plain for number in _number_in(text))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Redactor) and self._forms == other._forms

    def __hash__(self) -> int:
        return hash(self._forms)

    @property
    def forms(self) -> tuple[str, ...]:
        """Everything that is looked for."""
        return self._forms

    def text(self, text: str) -> str:
        """The text without secrets, nor pieces of them where it was cut: for errors and logs, which have bounds."""
        text = self._whole(text)
        if len(text) >= _CUT:
            for form in self._likely(text):
                text = _without_pieces(text, form)
        return text

    def value(self, value: Any) -> Any:
        """The JSON value without secrets, keys included: for outputs, of which no piece may be lost by mistake."""
        return _walked(value, self._whole, self._number) if self._forms else value

    def details(self, value: Any) -> Any:
        """The JSON value, its texts masked as `text` does."""
        return _walked(value, self.text, self._number) if self._forms else value

    def _whole(self, text: str) -> str:
        for form in self._likely(text):
            if form in text:
                text = text.replace(form, MASK)
        return text

    def _likely(self, text: str) -> Iterable[str]:
        """The forms that may be in the text. A key or a file has hundreds, and a script prints thousands of lines."""
        if len(self._forms) <= _FEW:
            return self._forms
        found = {text[at : at + SHORTEST] for at in range(len(text) - SHORTEST + 1)}
        return [form for form, ends in zip(self._forms, self._ends, strict=True) if not found.isdisjoint(ends)]

    def _number(self, number: float) -> Any:
        return MASK if number in self._numbers else number


def scalars(value: Any) -> Iterator[str]:
    """Every text and number inside a JSON value, as text."""
    match value:
        case str():
            yield value
        case Mapping():
            for inner in value.values():
                yield from scalars(inner)
        case list() | tuple():
            for inner in value:
                yield from scalars(inner)
        case int() | float() if not isinstance(value, bool):
            yield str(value)
        case _:  # null and booleans are no secrets: hiding them would hide every null
            return


def _walked(value: Any, text: Text, number: Callable[[float], Any]) -> Any:
    """The value with every text, keys included, and every number replaced by what the functions give for it."""
    inside = partial(_walked, text=text, number=number)
    match value:
        case str():
            return text(value)
        case Mapping():
            return {text(name): inside(inner) for name, inner in value.items()}
        case list() | tuple():
            return [inside(inner) for inner in value]
        case int() | float() if not isinstance(value, bool):
            return number(value)
        case _:
            return value


def _lines(text: str) -> Iterator[str]:
    """The text, without what is blank around it, and each of its lines: logs hold them one by one."""
    for line in (text, *text.splitlines()):
        if len(line.strip()) >= SHORTEST:
            yield line.strip()


def _number_in(text: str) -> Iterator[float]:
    """The number that a text becomes when it is read as JSON."""
    try:
        found = json.loads(text)
    except ValueError:
        return
    if isinstance(found, int | float) and not isinstance(found, bool) and len(str(found)) >= SHORTEST:
        yield found


def _forms(text: str) -> Iterator[str]:
    """A text as it is, and as programs write it."""
    data = text.encode(errors="replace")
    base64 = set(_base64_forms(data))
    yield text
    yield from base64
    yield from (form.replace("+", "-").replace("/", "_") for form in base64)
    for safe in ("", "/", _YARL):
        for encoded in (quote(data, safe), quote_plus(data, safe)):
            yield encoded
            yield _lower_escapes(encoded)
    for form in (text, *base64):
        escaped = json.dumps(form, ensure_ascii=False)[1:-1]
        yield escaped
        yield escaped.replace("/", "\\/")
    yield json.dumps(text)[1:-1]
    yield repr(text)[1:-1]
    yield html.escape(text)


def _lower_escapes(encoded: str) -> str:
    """``%2F`` as ``%2f``."""
    first, *rest = encoded.split("%")
    return "%".join([first, *(part[:2].lower() + part[2:] for part in rest)])


def _base64_forms(data: bytes) -> Iterator[str]:
    """Base64 of the data, also in lines, and what is found of it in the base64 of a longer text."""
    whole = b64encode(data).decode()
    yield whole
    yield whole.rstrip("=")
    for width in _WRAPPED:
        if len(whole) > width:
            yield from (whole[start : start + width] for start in range(0, len(whole), width))
    # Three bytes are four characters, so what comes before shifts it in one of three ways.
    for before, start in enumerate((0, 2, 3)):
        encoded = b64encode(bytes(before) + data).decode()
        inner = encoded[start : (before + len(data)) * 8 // 6]
        if len(inner) >= 2 * SHORTEST:
            yield inner


def _without_pieces(text: str, form: str) -> str:
    """The text without the form's beginning or end: long ones anywhere, short ones where the text was cut."""
    ellipsis = "..." if text.endswith("...") else ""
    body = text.removesuffix(ellipsis)
    at = body.find(form[:SHORTEST], max(0, len(body) - len(form) + 1))
    while at >= 0:
        if form.startswith(body[at:]):
            text = body[:at] + MASK + ellipsis
            break
        at = body.find(form[:SHORTEST], at + 1)
    at = text.rfind(form[-SHORTEST:], 0, len(form) - 1)
    while at >= 0:
        if form.endswith(text[: at + SHORTEST]):
            text = MASK + text[at + SHORTEST :]
            break
        at = text.rfind(form[-SHORTEST:], 0, at + SHORTEST - 1)
    return _without_long_pieces(text, form) if len(form) > _PIECE else text


def _without_long_pieces(text: str, form: str) -> str:
    at = text.find(form[:_PIECE])
    while at >= 0:
        length = _PIECE
        while length < len(form) and text[at + length : at + length + 1] == form[length]:
            length += 1
        text = text[:at] + MASK + text[at + length :]
        at = text.find(form[:_PIECE], at + len(MASK))
    at = text.rfind(form[-_PIECE:])
    while at >= 0:
        end, length = at + _PIECE, _PIECE
        while length < min(len(form), end) and text[end - length - 1] == form[-length - 1]:
            length += 1
        text = text[: end - length] + MASK + text[end:]
        at = text.rfind(form[-_PIECE:], 0, end - length)
    return text
