"""The download that controller tests use: etcd, kube-apiserver and kubectl in one archive, checked by its SHA-512."""

import hashlib
import http.client
import io
import logging
import re
import tarfile
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import yaml

log = logging.getLogger(__name__)

INDEX = "https://raw.githubusercontent.com/kubernetes-sigs/controller-tools/HEAD/envtest-releases.yaml"
_CONNECT_SECONDS = 5.0


class UnavailableError(Exception):
    """No archive can be had; the message says why."""


def download(version: str, architecture: str, folder: Path, names: Sequence[str]) -> None:
    """Put the programs of Kubernetes `version` into the folder.

    Raises:
        UnavailableError: the site does not answer, has no such archive, or sent something else than it announced.
    """
    index = yaml.safe_load(_fetch(INDEX))
    release, link, digest = choose(index, version, architecture)
    archive = _fetch(link)
    found = hashlib.sha512(archive).hexdigest()
    if found != digest:
        raise UnavailableError(f"{link} has SHA-512 {found}, announced was {digest}")
    unpack(archive, folder, names)
    log.info("Kubernetes %s: downloaded and verified", release)


def choose(index: Mapping[str, Any], version: str, architecture: str) -> tuple[str, str, str]:
    """Return (release, link, SHA-512) of this version, or else of the newest patch of its minor: few are published.

    `index` is envtest-releases.yaml: {"releases": {"v1.36.0": {"envtest-v1.36.0-linux-amd64.tar.gz": ENTRY}}},
    where ENTRY is {"hash": SHA-512, "selfLink": URL}.
    """
    minor = version.rpartition(".")[0]
    patches = [found for each in index["releases"] if (found := re.fullmatch(rf"v{re.escape(minor)}\.(\d+)", each))]
    for patch in sorted(patches, key=lambda each: (each[0] == f"v{version}", int(each[1])), reverse=True):
        release = patch[0]
        if entry := index["releases"][release].get(f"envtest-{release}-{architecture}.tar.gz"):
            return release, entry["selfLink"], entry["hash"]
    raise UnavailableError(f"nothing is published for {minor} on {architecture}")


def architecture(system: str, machine: str) -> str:
    """Return Go's name, such as linux-amd64, of what the platform module calls `system` and `machine`."""
    return f"{system.lower()}-{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(machine, machine) }"


def unpack(archive: bytes, folder: Path, names: Sequence[str]) -> None:
    """Write the named programs of a .tar.gz into the folder, wherever in the archive they lie."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        members = {Path(member.name).name: member for member in tar if member.isfile()}
        if lacking := [name for name in names if name not in members]:
            raise UnavailableError(f"the archive has no {', '.join(lacking)}")
        for name in names:
            content = tar.extractfile(members[name])
            draft = folder / f".{name}.download"
            draft.write_bytes(content.read() if content else b"")
            draft.chmod(0o755)
            draft.rename(folder / name)


def _fetch(url: str) -> bytes:
    if not url.startswith("https://"):
        raise UnavailableError(f"{url} is not https")
    try:
        with urllib.request.urlopen(url, timeout=_CONNECT_SECONDS) as answer:  # noqa: S310 (https, checked above)
            body: bytes = answer.read()
            return body
    except (URLError, OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"{url}: {error}") from error
