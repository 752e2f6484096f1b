"""Text that programs write, cut into lines that can be kept. Pure."""

from collections.abc import Iterator

from leat_engine.limits import KIB

LINE_BYTES = 16 * KIB
"""Bytes of one line; a longer one is split."""


def harmless(text: str) -> str:
    """The text as Postgres takes it: no NUL, no half characters."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def pieces(text: str, limit: int = LINE_BYTES) -> Iterator[str]:
    """The text in pieces of at most ``limit`` bytes of UTF-8 (at least 4), none of which ends within a character."""
    if len(text) * 4 <= limit:
        yield text
        return
    data = text.encode()
    start = 0
    while len(data) - start > limit:
        end = _whole(data, start + limit)
        yield data[start:end].decode()
        start = end
    yield data[start:].decode()


class Lines:
    """Cuts a stream of bytes into lines as they come. A line that does not end is given out in pieces."""

    def __init__(self, limit: int = LINE_BYTES) -> None:
        self._limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that ``data`` ends, as text; bytes that are no UTF-8 become U+FFFD."""
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
        while len(rest) > self._limit:
            end = _whole(rest, self._limit)
            yield rest[:end].decode(errors="replace")
            rest = rest[end:]
        self._rest = rest

    def end(self) -> Iterator[str]:
        """What is left when nothing more comes."""
        rest, self._rest = self._rest, b""
        if rest:
            yield rest.decode(errors="replace")


def _whole(data: bytes, end: int) -> int:
    """The end of the last whole character at or before ``end``; ``end`` itself if that is not UTF-8."""
    for back in range(4):
        if data[end - back] & 0xC0 != 0x80:
            return end - back
    return end
