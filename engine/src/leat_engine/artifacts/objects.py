"""The crossing to the object store: S3 or what speaks like it, or a directory. The only module that knows obstore."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from obstore import exceptions
from obstore.store import LocalStore, S3Store

from leat_engine.errors import LeatError
from leat_engine.limits import MIB

PART = 8 * MIB
"""Bytes of one part of an upload; S3 takes 10,000 of them, so an artifact has 78 GiB at most."""

PARTS_AT_ONCE = 2
"""Parts of one upload that are on their way: what it holds in memory."""

PIECE = MIB
"""Bytes that are read at once, at least."""

REMOVED_AT_ONCE = 1_000
"""Keys of one request of S3."""

URL_SECONDS = 3600
"""For how long a signed URL lets somebody begin; less, where the credentials that sign it end before."""

_OPTIONS = {"endpoint", "region"}
_CLIENT = {"timeout": timedelta(minutes=5), "connect_timeout": timedelta(seconds=5)}
_RETRY: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}


class ArtifactsUnavailable(LeatError):
    """The object store did not answer, or broke off."""

    retriable = True


class ArtifactsRefused(LeatError):
    """The object store answered, and refused; or its URL is none. The message says what to do."""


class ArtifactGone(LeatError):
    """There is no such object: it was removed with the run that made it."""


@dataclass(frozen=True, slots=True)
class Put:
    """An object that was written."""

    size: int
    sha256: str


class Objects:
    """An object store. Everything raises `ArtifactsUnavailable`, `ArtifactsRefused` or `ArtifactGone`."""

    def __init__(self, store: S3Store | LocalStore, root: Path | None = None) -> None:
        self._store = store
        self._root = root

    @classmethod
    def connect(cls, url: str) -> "Objects":
        """The object store behind a URL. Nothing is asked of it yet.

        Args:
            url: ``file:///DIRECTORY``, or ``s3://BUCKET/PREFIX?endpoint=URL&region=NAME``, of which the options may
                come from the environment too, as ``AWS_ENDPOINT_URL`` and ``AWS_REGION``. Credentials come from the
                environment, a web identity (IRSA) or the machine's metadata service.

        Raises:
            ArtifactsRefused: It is no such URL.
        """
        parts = urlsplit(url)
        if parts.scheme == "file" and not parts.netloc and len(parts.path) > 1:
            root = Path(unquote(parts.path))
            with _explained(f"directory {root}"):
                return cls(LocalStore(root, mkdir=True), root)
        if parts.scheme == "s3" and parts.hostname and not (parts.username or parts.password):
            return cls(_bucket(parts.hostname, parts.path, dict(parse_qsl(parts.query))))
        # The URL itself is not told: it may hold what does not belong there.
        raise ArtifactsRefused(
            "LEAT_ARTIFACTS_URL: expected s3://BUCKET/PREFIX or file:///DIRECTORY, without credentials; "
            "those come by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or by the pod's service account"
        )

    async def put(self, key: str, pieces: AsyncIterator[bytes], content_type: str) -> Put:
        """Write an object, which is there as a whole or not at all."""
        digest, size = hashlib.sha256(), 0
        broken: list[Exception] = []

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            try:
                async for piece in pieces:
                    digest.update(piece)
                    size += len(piece)
                    yield piece
            except Exception as error:
                broken.append(error)  # on its way through the client it would lose what it is
                raise

        attributes: Any = None if self._root else {"Content-Type": content_type}
        try:
            with _explained(key):
                await obstore.put_async(
                    self._store, key, counted(), attributes=attributes, chunk_size=PART, max_concurrency=PARTS_AT_ONCE
                )
        except LeatError:
            if broken:
                raise broken[0] from None
            raise
        return Put(size, digest.hexdigest())

    async def get(self, key: str) -> AsyncIterator[bytes]:
        """The bytes of an object, in pieces."""
        with _explained(key):
            found = await obstore.get_async(self._store, key)
            async for piece in found.stream(min_chunk_size=PIECE):
                yield bytes(piece)

    @property
    def reachable(self) -> bool:
        """Whether who has a signed URL can reach objects: a bucket's, and not those of a directory."""
        return self._root is None

    async def url(self, verb: Literal["GET", "PUT"], key: str) -> str:
        """A URL that lets whoever has it do this with one object, for an hour at most. As secret as a password."""
        if isinstance(self._store, LocalStore):
            raise ArtifactsRefused(
                "LEAT_ARTIFACTS_URL is a directory, and pods of container steps reach buckets only: "
                "set it to s3://BUCKET/PREFIX for the runners"
            )
        with _explained(key):
            return await obstore.sign_async(self._store, verb, key, timedelta(seconds=URL_SECONDS))

    async def size(self, key: str) -> int:
        """Bytes of an object."""
        with _explained(key):
            return (await obstore.head_async(self._store, key))["size"]

    async def remove(self, key: str) -> None:
        """Remove an object, if it is there."""
        with _explained(key):
            try:
                await obstore.delete_async(self._store, key)
            except FileNotFoundError:
                return

    async def remove_below(self, prefix: str) -> int:
        """Remove all objects whose keys begin with ``prefix``, which ends with a slash; gives their number."""
        count = 0
        with _explained(prefix):
            async for listed in obstore.list(self._store, prefix, chunk_size=REMOVED_AT_ONCE):
                await obstore.delete_async(self._store, [entry["path"] for entry in listed])
                count += len(listed)
            if self._root is not None:  # with the directories, and what an upload that broke off left
                await asyncio.to_thread(shutil.rmtree, self._root / prefix, ignore_errors=True)
        return count


def _bucket(name: str, prefix: str, options: dict[str, str]) -> S3Store:
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        found = ", ".join(unknown)
        raise ArtifactsRefused(f"LEAT_ARTIFACTS_URL: unknown option {found}; expected endpoint or region")
    config: Any = options  # its types are there for type checkers only
    client: Any = dict(_CLIENT)
    if options.get("endpoint", "").startswith("http://"):
        client["allow_http"] = True
    with _explained(f"bucket {name}"):
        return S3Store(
            name, prefix=prefix.strip("/") or None, config=config, client_options=client, retry_config=_RETRY
        )


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """The client's errors as ours, by whether trying again helps."""
    try:
        yield
    except (FileNotFoundError, exceptions.NotFoundError) as error:
        raise ArtifactGone(f"artifact {what} is gone; it goes with the run that made it") from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError) as error:
        raise ArtifactsRefused(f"the artifact store does not let us in: {_first(error)}") from error
    except (exceptions.BaseError, OSError, TimeoutError) as error:
        raise ArtifactsUnavailable(f"the artifact store does not answer: {_first(error)}") from error


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
