"""Named parameters of a SQL statement: ``:name`` in the text becomes ``$1``, the value travels beside it.

What looks like a parameter inside a string, a quoted name, a comment or a dollar-quoted body is none, as PostgreSQL
reads them (its manual, section 4.1, with ``standard_conforming_strings`` on, the default). ``::type`` is a cast.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_COMMENT_EDGE = re.compile(r"/\*|\*/")
_TOKEN = re.compile(
    r"""
      (?P<line>--[^\n]*)
    | (?P<block>/\*)
    | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*'?)
    | (?P<string>'[^']*'?)
    | (?P<quoted>"[^"]*"?)
    | (?P<dollar>\$(?:[^\W\d]\w*)?\$)
    | (?P<number>\$[0-9]+)
    | (?P<cast>::|:=)
    | :(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<word>\w[\w$]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Numbered:
    """A statement as PostgreSQL takes it, and the names of its parameters in the order of their numbers."""

    text: str
    names: tuple[str, ...]


def numbered(query: str) -> Numbered:
    """Give every ``:name`` a number; the same name has the same number.

    Raises:
        ValueError: The statement has a number, such as ``$1``, of its own.
    """
    numbers: dict[str, int] = {}
    parts = []
    for kind, text in _tokens(query):
        if kind == "number":
            raise ValueError(f"found {text!r}, expected a name such as :order, whose value stands in `parameters`")
        parts.append(f"${numbers.setdefault(text, len(numbers) + 1)}" if kind == "name" else text)
    return Numbered("".join(parts), tuple(numbers))


def _tokens(query: str) -> Iterator[tuple[str, str]]:
    """The parts of a statement with what they are; of a parameter its name."""
    at = 0
    while match := _TOKEN.match(query, at):
        kind, start, at = match.lastgroup or "other", at, match.end()
        if kind == "block":
            at = _end_of_comment(query, at)
        elif kind == "dollar":
            end = query.find(match["dollar"], at)
            at = len(query) if end < 0 else end + len(match["dollar"])
        yield kind, match["name"] if kind == "name" else query[start:at]


def _end_of_comment(query: str, at: int) -> int:
    """Where a comment ends whose text begins at ``at``: comments nest."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(query, at):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    return len(query)
