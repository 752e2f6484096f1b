"""Asks the sources one after the other, and checks what they give."""

import re
from collections.abc import Mapping, Sequence

from leat_engine import limits
from leat_engine.expression import SecretRef
from leat_engine.result import ErrorType
from leat_runner.kubernetes import Kubernetes
from leat_runner.secrets.cluster import ClusterSecrets
from leat_runner.secrets.source import Environment, Files, SecretError, SecretSettings, Source, not_readable

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class SecretReader:
    """Reads what a step names. ``hint`` is said when a secret is nowhere: how to give it here."""

    def __init__(self, sources: Sequence[Source], hint: str = "") -> None:
        self._sources = tuple(sources)
        self._hint = hint

    async def read(self, namespace: str, refs: Sequence[SecretRef]) -> Mapping[SecretRef, str]:
        """The values by what asks for them.

        Raises:
            SecretError: One of them cannot be had.
        """
        return {ref: text_of(ref, await self._find(namespace, ref)) for ref in refs}

    async def close(self) -> None:
        """Free what the sources hold."""
        for source in self._sources:
            await source.close()

    async def _find(self, namespace: str, ref: SecretRef) -> bytes:
        if not _NAMESPACE.fullmatch(namespace):  # it becomes part of paths
            raise not_readable(f"{ref}: {namespace!r} is no name of a namespace")
        for source in self._sources:
            found = await source.read(namespace, ref)
            if found is not None:
                return found
        places = ", ".join(source.place(namespace, ref) for source in self._sources) or "no place at all"
        message = f"{ref} is nowhere; looked for {places}"
        # Another try may find it: what brings secrets into a cluster comes when it comes.
        raise SecretError(ErrorType.SECRET_NOT_FOUND, message + self._hint, retriable=True)


def text_of(ref: SecretRef, value: bytes) -> str:
    """The value as a text; a line end behind its only line is a habit of editors and `echo`, and left out.

    Raises:
        SecretError: It is too large, or no text that an expression can hold.
    """
    if len(value) > limits.SECRET_BYTES:
        raise not_readable(f"{ref} is larger than {limits.SECRET_BYTES} bytes", reason="TooLarge")
    try:
        text = value.decode()
    except UnicodeDecodeError:
        message = f"{ref} is no UTF-8 text; store it in base64, and let the step decode it"
        raise not_readable(message, reason="NotText") from None  # the cause would hold the value
    if "\0" in text:
        raise not_readable(f"{ref} holds a NUL character, which expressions cannot take", reason="NotText")
    line = text.removesuffix("\n").removesuffix("\r")
    return text if "\n" in line else line


def installed(kubernetes: Kubernetes) -> SecretReader:
    """The sources of a runner in a pool, in this order: files, environment, the run's namespace."""
    folder = SecretSettings().secrets_dir
    files: list[Source] = [] if folder is None else [Files(folder)]
    return SecretReader([*files, Environment(), ClusterSecrets(kubernetes)])
