"""Where a RabbitMQ comes from: a URL given, a server on this machine, Docker, the system's package; in this order."""

import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from leat_stack.errors import StackError

log = logging.getLogger(__name__)

# Debian's and Homebrew's. Not /usr/sbin, which Debian's root has on its PATH: that one changes the user.
USUAL_PLACES = (Path("/usr/lib/rabbitmq/bin"), Path("/opt/homebrew/sbin"), Path("/usr/local/sbin"))
_WRAPPER = Path("/usr/sbin/rabbitmq-server")
_POLICY = Path("/usr/sbin/policy-rc.d")
_DOCKERFILE = Path(__file__).parents[3] / "tools" / "Dockerfile"


@dataclass(frozen=True)
class Given:
    """A broker somebody else runs."""

    amqp_url: str


@dataclass(frozen=True)
class Server:
    """A server program of this machine."""

    path: Path


@dataclass(frozen=True)
class Image:
    """An image for the Docker daemon that answers here."""

    name: str


Source = Given | Server | Image


def locate(env: Mapping[str, str]) -> Source:
    """Return where the broker comes from; the system's package is installed if nothing else is there and it may be.

    Raises:
        StackError: there is no way; with the ways to make one.
    """
    if url := env.get("LEAT_AMQP_URL"):
        return Given(url)
    if server := find_server(env.get("PATH", ""), USUAL_PLACES):
        return Server(server)
    if docker_answers():
        return Image(pinned_image())
    if (prefix := _become_root()) is not None and shutil.which("apt-get"):
        _install(prefix)
        if server := find_server(env.get("PATH", ""), USUAL_PLACES):
            return Server(server)
    raise StackError(missing(sys.platform))


def find_server(path: str, places: tuple[Path, ...]) -> Path | None:
    """Return the rabbitmq-server of `path` (as $PATH), else that of the places."""
    on_path = shutil.which("rabbitmq-server", path=path)
    if on_path and Path(on_path) != _WRAPPER:
        return Path(on_path)
    found = (place / "rabbitmq-server" for place in places)
    return next((each for each in found if os.access(each, os.X_OK)), None)


def docker_answers() -> bool:
    """Whether there is a docker command whose daemon answers within five seconds."""
    if not shutil.which("docker"):
        return False
    try:
        asked = subprocess.run(["docker", "info"], check=False, capture_output=True, timeout=5)
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def pinned_image() -> str:
    """Return the image's name as hack/tools/Dockerfile pins it."""
    found = re.search(r"^FROM (\S+)$", _DOCKERFILE.read_text(), re.MULTILINE)
    if found is None:
        raise StackError(f"{_DOCKERFILE} has no line `FROM image:tag`")
    return found[1]


def missing(platform: str) -> str:
    """Return what to type on this platform (as sys.platform) to get a RabbitMQ."""
    install = (
        "brew install rabbitmq"
        if platform == "darwin"
        else "sudo apt-get install --no-install-recommends rabbitmq-server"
    )
    return (
        f"RabbitMQ is missing. Any one of these gives it: {install}; start Docker; or set LEAT_AMQP_URL (and "
        "LEAT_AMQP_MANAGEMENT_URL) to a broker you have. The package's own service is not used and may stay off."
    )


def _become_root() -> tuple[str, ...] | None:
    if os.geteuid() == 0:
        return ()
    if not shutil.which("sudo"):
        return None
    asked = subprocess.run(["sudo", "-n", "true"], check=False, capture_output=True)
    return ("sudo", "-n") if asked.returncode == 0 else None


def _install(prefix: tuple[str, ...]) -> None:
    log.info("installing the package rabbitmq-server (its own service stays off)")
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    with _services_stay_off(prefix):
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", "rabbitmq-server"]):
            done = subprocess.run([*apt, *arguments], check=False, capture_output=True, text=True)
            if done.returncode != 0:
                raise StackError(
                    f"apt-get {arguments[0]} failed: {done.stderr.strip()[-1000:]}\n{missing(sys.platform)}"
                )
    if shutil.which("systemctl"):  # the package asks for a start at the next boot
        subprocess.run(
            [*prefix, "systemctl", "disable", "--quiet", "rabbitmq-server"], check=False, capture_output=True
        )


@contextmanager
def _services_stay_off(prefix: tuple[str, ...]) -> Iterator[None]:
    """Forbid packages to start their services for the time of the block, by Debian's own means."""
    if _POLICY.exists():
        yield
        return
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as policy:
        policy.write("#!/bin/sh\nexit 101\n")
        policy.flush()
        subprocess.run([*prefix, "install", "-m", "755", policy.name, _POLICY], check=True)
    try:
        yield
    finally:
        subprocess.run([*prefix, "rm", "-f", _POLICY], check=True)
