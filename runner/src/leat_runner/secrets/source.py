"""Where secrets come from on the machine itself: files, the environment, and what is given to `leat run`."""

import asyncio
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from pydantic_settings import BaseSettings, SettingsConfigDict

from leat_engine import limits
from leat_engine.errors import LeatError
from leat_engine.expression import SecretRef
from leat_engine.result import ErrorType, StepError

VARIABLE = "LEAT_SECRET_"


class SecretSettings(BaseSettings):
    """Settings of secrets, from ``LEAT_*`` environment variables."""

    model_config = SettingsConfigDict(env_prefix="LEAT_")

    secrets_dir: Path | None = None
    """A folder of files ``NAMESPACE/NAME/KEY``."""


class SecretError(LeatError):
    """A secret cannot be had. The message says which, why, and what to do, and nothing of any value."""

    def __init__(self, type: ErrorType, message: str, *, reason: str = "", retriable: bool) -> None:  # noqa: A002
        super().__init__(message)
        self.error = StepError(type, message, reason=reason, retriable=retriable)


def not_readable(message: str, *, reason: str = "", retriable: bool = False) -> SecretError:
    """The error of a secret that is there, or may be, and cannot be used."""
    return SecretError(ErrorType.SECRET_NOT_READABLE, message, reason=reason, retriable=retriable)


class Source(Protocol):
    """Something that may have a secret. One per process."""

    async def read(self, namespace: str, ref: SecretRef) -> bytes | None:
        """The value, or None when it is not here and the next source may be asked.

        Raises:
            SecretError: It is here and cannot be used.
        """
        ...

    def place(self, namespace: str, ref: SecretRef) -> str:
        """Where it would be, for the message that it is nowhere."""
        ...

    async def close(self) -> None:
        """Free what the source holds."""
        ...


class _Local:
    async def close(self) -> None:
        """Nothing is held."""


class Files(_Local):
    """Files ``NAMESPACE/NAME/KEY`` below a folder, which External Secrets, a Vault agent or a CSI driver keeps fresh.

    Read at every use. Links are followed, as Kubernetes mounts its volumes with them; names cannot lead outside.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read(self, namespace: str, ref: SecretRef) -> bytes | None:
        """The file's content."""
        path = self._folder / namespace / ref.name / ref.key
        try:
            return await asyncio.to_thread(_content, path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            message = f"{ref}: the file {self.place(namespace, ref)} cannot be read: {error.strerror}"
            raise not_readable(message, reason="FileNotReadable", retriable=True) from error

    def place(self, namespace: str, ref: SecretRef) -> str:
        """The path."""
        return f"the file {self._folder / namespace / ref.name / ref.key}"


class Environment(_Local):
    """Variables ``LEAT_SECRET_NAME_KEY`` of the runner's process, for every namespace.

    Name and key are in upper case, with ``_`` for all but letters and digits. So ``secret('a-b', 'c')`` and
    ``secret('a', 'b.c')`` are the same variable: whoever sets it gives it to both.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment

    async def read(self, namespace: str, ref: SecretRef) -> bytes | None:  # noqa: ARG002 - the same for all
        """The variable's value."""
        value = self._environment.get(variable(ref))
        return None if value is None else os.fsencode(value)

    def place(self, namespace: str, ref: SecretRef) -> str:  # noqa: ARG002 - the same for all
        """The variable's name."""
        return f"the environment variable {variable(ref)}"


class Given(_Local):
    """Values that somebody gave by hand, by name and key, for every namespace."""

    def __init__(self, values: Mapping[str, Mapping[str, str]], place: str) -> None:
        self._values = values
        self._place = place

    async def read(self, namespace: str, ref: SecretRef) -> bytes | None:  # noqa: ARG002 - the same for all
        """The value."""
        value = self._values.get(ref.name, {}).get(ref.key)
        return None if value is None else value.encode()

    def place(self, namespace: str, ref: SecretRef) -> str:  # noqa: ARG002 - the same for all
        """What they were given by."""
        return self._place


def variable(ref: SecretRef) -> str:
    """The environment variable of a secret."""
    return VARIABLE + re.sub(r"[^A-Z0-9]", "_", f"{ref.name}_{ref.key}".upper())


def _content(path: Path) -> bytes:
    # Whoever fills the folder may have put a pipe there, which would block.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(0, "it is no plain file")
        return os.read(fd, limits.SECRET_BYTES + 1)
    finally:
        os.close(fd)
