"""Where Kafka's server comes from: jars of Maven Central, kept in the user's cache; it needs Java and Maven.

The version is the one that hack/tools/kafka/pom.xml names, and nothing else names it.
"""

import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from leat_stack.errors import StackError

log = logging.getLogger(__name__)

_POM = Path(__file__).parents[3] / "tools" / "kafka" / "pom.xml"
_OLDEST_JAVA = 17


@dataclass(frozen=True)
class Server:
    """A Java, and the folder with the jars of the server."""

    java: Path
    jars: Path

    def command(self, main: str, *arguments: str) -> list[str]:
        """Return the command line of one of Kafka's programs. Small: the tests have tens of messages a second."""
        heap = ["-Xms96m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return [str(self.java), *heap, "-cp", f"{self.jars}/*", main, *arguments]


def locate(env: Mapping[str, str]) -> Server:
    """Return the server; its jars are fetched now if they must be.

    Raises:
        StackError: there is no Java for it, or no way to the jars; with what to install.
    """
    if (reason := missing(env)) is not None:
        raise StackError(reason)
    jars = cache(env)
    if not jars.is_dir():
        _fetch(jars)
    return Server(_java(env) or Path("java"), jars)


def missing(env: Mapping[str, str]) -> str | None:
    """Return why there can be no Kafka on this machine, and what to install; None if there can."""
    java = _java(env)
    install = f"install a JDK >= {_OLDEST_JAVA} and Maven (Debian: apt-get install openjdk-17-jre-headless maven)"
    if java is None:
        return f"Kafka needs Java, and there is none: {install}"
    if (found := _version(java)) < _OLDEST_JAVA:
        return f"Kafka needs Java >= {_OLDEST_JAVA}, found {found} at {java}: {install}, or set JAVA_HOME"
    if not cache(env).is_dir() and shutil.which("mvn", path=env.get("PATH")) is None:
        return f"Kafka's jars are fetched by Maven, and there is no mvn: {install}"
    return None


def cache(env: Mapping[str, str]) -> Path:
    """Return the folder that this version's jars are kept in."""
    base = Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "leat" / "kafka" / version()


def version() -> str:
    """Return the version of Kafka."""
    found = re.search(r"<kafka\.version>(\S+)</kafka\.version>", _POM.read_text())
    if found is None:
        raise StackError(f"{_POM} has no kafka.version")
    return found[1]


def _java(env: Mapping[str, str]) -> Path | None:
    if (home := env.get("JAVA_HOME")) and os.access(Path(home) / "bin" / "java", os.X_OK):
        return Path(home) / "bin" / "java"
    found = shutil.which("java", path=env.get("PATH"))
    return Path(found) if found else None


def _version(java: Path) -> int:
    said = subprocess.run([java, "-version"], check=False, capture_output=True, text=True).stderr
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else 0


def _fetch(jars: Path) -> None:
    log.info("Kafka %s: fetching its jars (45 MB), once", version())
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.parent) as draft:
        done = subprocess.run(
            [
                "mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies",
                "-DincludeScope=runtime", f"-DoutputDirectory={draft}/jars",
            ],
            check=False, capture_output=True, text=True, cwd=draft,
        )  # fmt: skip
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip()[-1000:]
            raise StackError(
                f"Maven could not fetch Kafka's jars; is Maven Central, or a mirror of it, reachable? {said}"
            )
        try:
            (Path(draft) / "jars").rename(jars)
        except OSError:
            if not jars.is_dir():  # else another process was faster
                raise
