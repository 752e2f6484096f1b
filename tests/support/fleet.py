"""Real runner processes that are killed, frozen, thawed and asked to leave."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from tests.support.queue import until

NAMESPACE = "test"
"""Of the installation: part of its queues' names."""
FUNCTIONS = Path(__file__).with_name("functions.py")


class RunnerProcess:
    """One ``python -m leat_runner`` with its log."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "leat_runner"], env=environment, stdout=output, stderr=output
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    async def dies(self, seconds: float) -> bool:
        """Whether it is gone within so many seconds."""
        try:
            await until(lambda: not self.alive, seconds)
        except AssertionError:
            return False
        return True

    @property
    def code(self) -> int | None:
        """How it ended: the exit code, or minus the signal that ended it."""
        return self._process.poll()

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it has logged under this name."""
        found = []
        for line in self._log.read_bytes().splitlines():
            try:
                event = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue  # cut off by a kill, or the interpreter's own
            if event.get("event") == name:
                found.append(event)
        return found

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def ask_to_leave(self) -> None:
        self._process.terminate()

    def left(self, seconds: float) -> int:
        """The exit code; fails when it is still there after ``seconds``."""
        return self._process.wait(seconds)


class Fleet:
    """Runners of one installation. All are gone when the fleet is closed."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self.effects = folder / "effects"
        self._folder = folder
        self._environment = {
            **os.environ,
            "LEAT_NAMESPACE": NAMESPACE,
            "LEAT_HEARTBEAT": "0.3",
            "LEAT_FUNCTIONS": str(FUNCTIONS),
            "LEAT_TEST_EFFECTS": str(self.effects),
            **environment,
        }
        self.runners: list[RunnerProcess] = []

    def start(self, **settings: object) -> RunnerProcess:
        """One more runner; settings are ``LEAT_*`` variables by their names in lower case."""
        number = len(self.runners)
        own = {f"LEAT_{name.upper()}": str(value) for name, value in settings.items()}
        environment = {**self._environment, "LEAT_NAME": f"runner-{number}", **own}
        runner = RunnerProcess(environment, self._folder / f"runner-{number}.log")
        self.runners.append(runner)
        return runner

    def close(self) -> None:
        for runner in self.runners:
            runner.kill()


@contextmanager
def a_fleet(dsn: str, amqp_url: str, folder: Path) -> Iterator[Fleet]:
    fleet = Fleet({"LEAT_DATABASE_URL": dsn, "LEAT_AMQP_URL": amqp_url}, folder)
    try:
        yield fleet
    finally:
        fleet.close()


def ready(*runners: RunnerProcess, seconds: float = 30) -> None:
    """Return when all of them have registered."""
    end = time.monotonic() + seconds
    for runner in runners:
        while not runner.events("runner_registered"):
            if not runner.alive or time.monotonic() > end:
                raise AssertionError(f"the runner did not start:\n{runner.log[-3000:]}")
            time.sleep(0.02)
