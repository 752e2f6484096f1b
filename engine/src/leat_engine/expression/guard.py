"""What keeps an expression, while it is evaluated, from taking the runner's time and memory.

CEL itself bounds length, nesting and the number of iterations. That is not enough: it builds lists in quadratic time,
and a text can double with every step of a macro. So `rewrite` makes every loop ask `Guard.go_on` before each iteration
and collect its list here, and lets `replace` and `join` be done by functions that know how large their result will be.

Loops over an object visit its keys in their order: CEL's own is another one each time, and a list that is looked at
again, such as that of a `forEach`, has to be the same.
"""

import time
from collections.abc import Mapping, Sequence
from threading import local
from typing import Any

from leat_engine import limits

GO_ON, NEW_LIST, APPEND, FINISH = "@leat_go_on", "@leat_new_list", "@leat_append", "@leat_finish"
KEYS = "@leat_keys"
BOUNDED = {"replace": "@leat_replace", "join": "@leat_join"}
"""Names of functions that nobody can write, because of their first character."""


class Guard(local):
    """The evaluation that runs in this thread: its CPU time, and the lists that its loops build."""

    end = 0.0
    room = 0
    problem = ""

    def __init__(self) -> None:
        self.lists: list[list[Any]] = []

    def start(self) -> None:
        """Begin an evaluation."""
        self.end = time.thread_time() + limits.EXPRESSION_SECONDS
        self.room = limits.EXPRESSION_LIST_BYTES
        self.problem = ""
        self.lists.clear()

    def go_on(self) -> bool:
        """Whether another iteration may begin. When not, the loop ends, and `problem` says why its result is void."""
        if not self.problem and time.thread_time() > self.end:
            self.problem = f"takes more than {limits.EXPRESSION_SECONDS} s; do it in a script or function step"
        return not self.problem

    def new_list(self) -> int:
        """Begin a list; gives its number."""
        self.lists.append([])
        return len(self.lists) - 1

    def append(self, number: int, items: Sequence[Any]) -> int:
        """Add items to a list; gives its number."""
        self.room -= sum(map(_size, items))
        if self.room < 0:
            self.problem = f"builds lists of more than {limits.EXPRESSION_LIST_BYTES} bytes"
        else:
            self.lists[number].extend(items)
        return number

    def finish(self, number: int) -> list[Any]:
        """The list, which nobody needs here any more."""
        done, self.lists[number] = self.lists[number], []
        return done


def keys(value: Mapping[Any, Any]) -> list[Any]:
    """The keys of an object in their order."""
    return sorted(value, key=lambda key: (type(key).__name__, key))


def replace(text: str, old: str, new: str, count: int = -1) -> str:
    """``text.replace(old, new)``, unless the result is too large."""
    found = text.count(old)
    _check(len(text) + (found if count < 0 else min(found, count)) * (len(new) - len(old)))
    return text.replace(old, new, count)


def join(texts: Sequence[str], separator: str = "") -> str:
    """``texts.join(separator)``, unless the result is too large."""
    strange = next((text for text in texts if not isinstance(text, str)), None)
    if strange is not None:
        raise TypeError(f"join takes a list of texts, found {strange!r:.40} in it; convert it with string(...)")
    _check(sum(map(len, texts)) + len(separator) * max(0, len(texts) - 1))
    return separator.join(texts)


def _check(size: int) -> None:
    if size > limits.OUTPUT_BYTES:
        raise ValueError(f"would make a text of {size} characters; at most {limits.OUTPUT_BYTES} are possible")


def _size(value: Any) -> int:
    """About the bytes of a value as JSON."""
    match value:
        case str() | bytes() | bytearray():
            return 2 + len(value)
        case list():
            return 2 + sum(map(_size, value))
        case dict():
            return 2 + sum(len(str(key)) + _size(item) for key, item in value.items())
        case _:
            return 8
