"""Named parameters of a statement for MySQL and MariaDB: ``:name`` becomes ``?``, the value travels beside it.

What looks like a parameter inside a string, a quoted name or a comment is none, as these servers read them (MySQL's
manual, chapter 11, with the modes that they start with: a backslash escapes in strings, of both quotes).
"""

import re
from collections.abc import Iterator

from leat_engine.spec.placeholders import Numbered

_TOKEN = re.compile(
    r"""
      (?P<line>(?:\#|--(?=[\x00-\x20\x7f]|\Z))[^\n]*)  # without a space behind it, -- is minus minus
    | (?P<block>/\*.*?(?:\*/|\Z))                      # they do not nest
    | (?P<string>'(?:[^'\\]|\\.|'')*'?)
    | (?P<double>"(?:[^"\\]|\\.|"")*"?)
    | (?P<quoted>`[^`]*`?)
    | (?P<mark>\?)
    | (?P<assignment>:=)
    | :(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<word>[\w$]+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def marked(query: str) -> Numbered:
    """Put a mark for every ``:name``. The names are in the order of the marks, as often as they stand there.

    Raises:
        ValueError: The statement has a mark of its own.
    """
    names = []
    parts = []
    for kind, text in _tokens(query):
        if kind == "mark":
            raise ValueError("found '?', expected a name such as :order, whose value stands in `parameters`")
        if kind == "name":
            names.append(text)
        parts.append("?" if kind == "name" else text)
    return Numbered("".join(parts), tuple(names))


def _tokens(query: str) -> Iterator[tuple[str, str]]:
    """The parts of a statement with what they are; of a parameter its name."""
    for match in _TOKEN.finditer(query):
        kind = match.lastgroup or "other"
        yield kind, match["name"] if kind == "name" else match[0]
