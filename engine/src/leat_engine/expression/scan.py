"""Where expressions begin and end in a text."""

import re
from collections.abc import Iterator

from leat_engine.errors import LeatError

_TOKEN = re.compile(
    r"""(?P<raw>\b[bB]?[rR][bB]?(?:\'\'\'.*?\'\'\'|\"\"\".*?\"\"\"|'[^'\n]*'|"[^"\n]*"))"""
    r"""|(?P<string>\'\'\'(?:[^\\]|\\.)*?\'\'\'|\"\"\"(?:[^\\]|\\.)*?\"\"\"|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")"""
    r"""|(?P<open>\{)|(?P<close>\})""",
    re.DOTALL,
)
"""What matters for finding the end of an expression: CEL's string literals, which hide braces, and braces."""
_START = re.compile(r"\$?\$\{")


class CompileError(LeatError):
    """The text is no valid expression. The message shows the place."""


def split(text: str) -> Iterator[tuple[bool, str]]:
    """The pieces of a text: ``(True, literal text)`` and ``(False, expression)``, in order.

    ``$${`` is a literal ``${``. Braces and quotes inside an expression are read as CEL reads them.

    Raises:
        CompileError: An expression has no end.
    """
    position = 0
    while start := _START.search(text, position):
        if start[0] == "$${":
            yield True, text[position : start.start()] + "${"
            position = start.end()
            continue
        if start.start() > position:
            yield True, text[position : start.start()]
        end = _end(text, start.end())
        yield False, text[start.end() : end]
        position = end + 1
    if position < len(text):
        yield True, text[position:]


def code(source: str) -> Iterator[tuple[bool, str]]:
    """The pieces of an expression's source: ``(True, a string literal)`` and ``(False, what is between)``, in order."""
    position = 0
    for token in _TOKEN.finditer(source):
        if token["raw"] or token["string"]:
            yield False, source[position : token.start()]
            yield True, token[0]
            position = token.end()
    yield False, source[position:]


def _end(text: str, position: int) -> int:
    """Where the ``}`` is that ends the expression beginning at ``position``."""
    depth = 0
    for token in _TOKEN.finditer(text, position):
        if token["open"]:
            depth += 1
        elif token["close"]:
            if depth == 0:
                return token.start()
            depth -= 1
    raise CompileError(
        f"${{ {brief(text[position:])}: the expression has no closing `}}`; write $${{ for a literal ${{"
    )


def brief(text: str) -> str:
    """A text for a message: one line, not too long."""
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:77] + "..."
