"""Carries files between a directory and an object store, by signed URLs: this runs in the pods of container steps.

    python -m leat_runner.ferry get|put DIRECTORY

What to carry is in the variables ``LEAT_FILE_0`` and so on, each a JSON object: ``{path, url, size, sha256}`` to get,
``{name, path, url, contentType}`` to put. Each line on stdout is one, too: ``{name, size, sha256}`` of what was put,
``{name, reason, message, retriable}`` of what could not be carried. Whoever has a URL may do what it says, so no line
holds one. Only the standard library is used: this has to start in a moment, and brings no credentials.
"""

import hashlib
import http.client
import json
import os
import ssl
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import IO, Any
from urllib.parse import urlsplit

MIB = 1024 * 1024
PUT_BYTES = 5 * 1024 * MIB
"""What S3 takes in one request."""

SECONDS = 60.0
"""For how long a store that is away is asked again."""

PAUSE = 1.0
SILENCE = 60.0
"""Seconds that the other side may say nothing."""


class Uncarried(Exception):
    """A file could not be carried."""

    def __init__(self, reason: str, message: str, *, retriable: bool) -> None:
        super().__init__(message)
        self.told = {"reason": reason, "message": message, "retriable": retriable}


class _Away(Exception):
    """The store does not answer, or breaks off: worth another try."""


def main(way: str, directory: str) -> int:
    """Carry everything; what could not be got makes the process fail, so that the step does not begin."""
    os.umask(0)  # the step may be another user, and writes beside what it is given
    failed = False
    for item in _items(os.environ):
        name = item["path"] if way == "get" else item["name"]
        try:
            told = get(item, directory) if way == "get" else put(item, directory)
        except Uncarried as error:
            told, failed = error.told, True
        if way == "put" or failed:
            print(json.dumps({"name": name, **told}), flush=True)  # noqa: T201  the runner reads it in the pod's log
        if way == "get" and failed:
            return 1
    return 0


def _items(environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    number = 0
    while (text := environment.get(f"LEAT_FILE_{number}")) is not None:
        yield json.loads(text)
        number += 1


def get(item: Mapping[str, Any], directory: str) -> dict[str, Any]:
    """Write one file, whole and checked."""
    path = os.path.join(directory, item["path"])  # noqa: PTH118  plain strings start faster
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        _patiently(lambda: _got(item, path))
    except OSError as error:
        message = f"{item['path']} cannot be written: {error.strerror}"
        raise Uncarried("NotWritten", message, retriable=True) from error
    return {}


def _got(item: Mapping[str, Any], path: str) -> None:
    with _asked("GET", item["url"]) as answer, open(path, "wb") as file:  # noqa: PTH123
        digest, size = hashlib.sha256(), 0
        while piece := _read(answer):
            digest.update(piece)
            size += len(piece)
            file.write(piece)
    if size < item["size"]:
        raise _Away(f"it broke off after {size} bytes")
    if (size, digest.hexdigest()) != (item["size"], item["sha256"]):
        message = f"what is there for {item['path']} is not what its step has left"
        raise Uncarried("ArtifactChanged", message, retriable=False)


def put(item: Mapping[str, Any], directory: str) -> dict[str, Any]:
    """Put one file; gives its size and digest."""
    try:
        file = os.fdopen(_opened(directory, item["path"]), "rb")
    except OSError as error:
        hint = "let others read it, or set securityContext.runAsUser" if isinstance(error, PermissionError) else ""
        message = f"{item['path']!r} cannot be read: {error.strerror}; {hint or 'leave a plain file there'}"
        raise Uncarried("ArtifactMissing", message, retriable=False) from error
    with file:
        size = os.fstat(file.fileno()).st_size
        if size > PUT_BYTES:
            message = f"{item['path']!r} has {size} bytes, and a container's artifact at most {PUT_BYTES}"
            raise Uncarried("TooLarge", message, retriable=False)
        told: dict[str, Any] = _patiently(lambda: _sent(item, file, size))
        return told


def _sent(item: Mapping[str, Any], file: IO[bytes], size: int) -> dict[str, Any]:
    file.seek(0)
    digest = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        while piece := file.read(MIB):
            digest.update(piece)
            yield piece

    headers = {"Content-Length": str(size), "Content-Type": item["contentType"]}
    with _asked("PUT", item["url"], pieces(), headers):
        return {"size": size, "sha256": digest.hexdigest()}


def _opened(directory: str, path: str) -> int:
    """A descriptor of a plain file. The step may have left links anywhere on the way: none is followed."""
    at = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    *above, last = path.split("/")
    for part in above:
        outer, at = at, os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
        os.close(outer)
    fd = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    os.close(at)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "not a plain file")
    return fd


def _patiently(carry: Any) -> Any:
    until = time.monotonic() + SECONDS
    while True:
        try:
            return carry()
        except _Away as error:
            if time.monotonic() > until:
                message = f"the artifact store cannot be reached from the pod: {error}"
                raise Uncarried("ArtifactsUnavailable", message, retriable=True) from None
            time.sleep(PAUSE)


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read(MIB)
    except (OSError, http.client.HTTPException) as error:
        raise _Away(_said(error)) from None


def _asked(
    verb: str, url: str, body: Iterator[bytes] | None = None, headers: Mapping[str, str] | None = None
) -> http.client.HTTPResponse:
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(parts.netloc, timeout=SILENCE, context=context)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=SILENCE)
    try:
        connection.request(verb, f"{parts.path}?{parts.query}", body, dict(headers or {}))
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise _Away(_said(error)) from None  # the cause may hold the URL
    if answer.status == HTTPStatus.OK:
        return answer
    connection.close()
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise _Away(f"it answers {answer.status}")
    if answer.status == HTTPStatus.NOT_FOUND:
        raise Uncarried("ArtifactGone", "it is gone; it goes with the run that made it", retriable=False)
    message = f"the artifact store answers {answer.status}: the URL's hour is over, or its credentials are"
    raise Uncarried("ArtifactsRefused", message, retriable=True)


def _said(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
