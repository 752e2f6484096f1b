"""What ends scripts when their runner is killed: a small process that hears of it by the end of a pipe.

A killed runner cannot kill its scripts, and while they go on, the next runner starts them again: the same effect twice
at one time. In a pod the container's end takes them along; on a plain machine nobody else would. This file is also that
process's program, so it needs nothing but the standard library.
"""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path


class Lifeline:
    """Keeps the process that watches this one; it is started with the first script, and again should it die."""

    def __init__(self) -> None:
        self._held: dict[int, Path] = {}
        self._watcher: subprocess.Popen[bytes] | None = None

    def hold(self, group: int, directory: Path) -> None:
        """From now on, if this process dies, the process group is killed and the directory removed."""
        self._held[group] = directory
        self._tell(f"+{group} {directory}\n")

    def release(self, group: int) -> None:
        """The group has ended. Its number may soon be another's."""
        del self._held[group]
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End the watcher; nothing is held any more."""
        if self._watcher is not None:
            self._watcher.communicate()

    def _tell(self, line: str) -> None:
        watcher = self._watcher
        if watcher is not None and watcher.poll() is None:
            with suppress(BrokenPipeError):
                _write(watcher, line)
                return
        self.close()
        self._watcher = watcher = _start()
        for group, directory in self._held.items():
            _write(watcher, f"+{group} {directory}\n")


def _start() -> subprocess.Popen[bytes]:
    # A session of its own: the Ctrl-C that ends the runner must not end the watcher first.
    # An environment of its own, empty: unlike the runner's, it can be read in /proc by every script of the same user.
    command = [sys.executable, "-I", "-S", __file__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, env={})  # noqa: S603 - our own file


def _write(watcher: subprocess.Popen[bytes], line: str) -> None:
    if watcher.stdin is not None:
        os.write(watcher.stdin.fileno(), line.encode())


def watch() -> None:
    """Read what is held, until the one who writes it is gone; then end what is left."""
    held: dict[int, str] = {}
    for line in sys.stdin:
        group, _, directory = line[1:].rstrip("\n").partition(" ")
        if line[0] == "+":
            held[int(group)] = directory
        else:
            held.pop(int(group), None)
    for group, directory in held.items():
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    watch()
