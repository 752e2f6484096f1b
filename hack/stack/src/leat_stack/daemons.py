"""Background processes of one stack: started once, found again by later commands, stopped without hitting a stranger.

A process id in a file says nothing after a reboot or a crash. So each daemon carries `home#name` in its environment,
its children inherit it, and only a process that shows this mark is ever signalled. A process that shows no
environment, as runners hide theirs from their scripts and as every process has none for a moment of its `exec`, is
known by the moment it started.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from leat_stack.errors import StackError

MARK = "LEAT_STACK_DAEMON"

# The shell gives the daemon to init at once: nobody has to reap it, and it outlives whoever started it.
_DETACH = '"$@" >>"$0" 2>&1 </dev/null & echo $!'
_LOG_TAIL = 2000


@dataclass(frozen=True)
class Program:
    """A command line with its name in the stack and what it needs in its environment beyond the caller's."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


class Daemons:
    """The daemons of the stack in `home`."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def start(self, program: Program) -> int:
        """Start the program unless it runs already, and return its process id."""
        if (running := self.find(program.name)) is not None:
            return running.pid
        self.log(program.name).parent.mkdir(parents=True, exist_ok=True)
        self._pid_file(program.name).parent.mkdir(parents=True, exist_ok=True)
        started = subprocess.run(
            ["/bin/sh", "-c", _DETACH, self.log(program.name), *program.argv],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, **program.env, MARK: self._mark(program.name)},
            start_new_session=True,
            cwd=self._home,  # where a crash dump may fall
        )
        pid = int(started.stdout)
        self._pid_file(program.name).write_text(f"{pid} {_born(pid)}")
        return pid

    def find(self, name: str) -> psutil.Process | None:
        """Return the daemon of this name, if it runs."""
        try:
            pid, born = self._pid_file(name).read_text().split()
            process = psutil.Process(int(pid))
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return None
        if shown := _shown(process):
            return process if shown.get(MARK) == self._mark(name) else None
        return process if _lives(process) and _born(process.pid) == born else None

    def names(self) -> list[str]:
        """Return the names of the daemons that this home has known, running or not."""
        return sorted(file.stem for file in (self._home / "log").glob("*.log"))

    def stop(self, name: str, *, by: signal.Signals = signal.SIGTERM, grace: float = 10.0) -> None:
        """Ask the daemon to end, and after `grace` seconds make it. Its children go with it."""
        if (process := self.find(name)) is not None:
            process.send_signal(by)
            _wait_until_ended([process], grace)
        left = [each for each in psutil.process_iter() if _mark_of(each) == self._mark(name)]
        _kill([*left, *filter(None, [self.find(name)])])
        self._pid_file(name).unlink(missing_ok=True)

    def kill_all(self) -> None:
        """End every process of this stack at once, also those whose process id is written nowhere."""
        _kill([process for name in self.names() if (process := self.find(name)) is not None])
        mine = f"{self._home}#"
        while found := [each for each in psutil.process_iter() if (_mark_of(each) or "").startswith(mine)]:
            _kill(found)  # again, for what was being forked meanwhile

    def log(self, name: str) -> Path:
        """Return the file the daemon's output goes to."""
        return self._home / "log" / f"{name}.log"

    def wait_until(
        self, condition: Callable[[], bool], name: str, seconds: float, *, alongside: Sequence[str] = ()
    ) -> None:
        """Return when the condition holds, which the daemon is to bring about, perhaps with others alongside.

        Raises:
            StackError: one of them ended, or the time did; with the end of its log.
        """
        names = [name, *alongside]
        deadline = time.monotonic() + seconds
        while not condition():
            for each in names:
                if self.find(each) is None:
                    raise StackError(f"{each} has ended. {self._log_end(each)}")
            if time.monotonic() > deadline:
                logs = "\n".join(map(self._log_end, names))
                raise StackError(f"not ready after {seconds:.0f} s: {', '.join(names)}. {logs}")
            time.sleep(0.02)

    def _log_end(self, name: str) -> str:
        log = self.log(name)
        text = log.read_text(errors="replace") if log.exists() else ""
        return f"The end of {log}:\n{text[-_LOG_TAIL:].strip() or '(empty)'}"

    def _mark(self, name: str) -> str:
        return f"{self._home}#{name}"

    def _pid_file(self, name: str) -> Path:
        return self._home / "pid" / f"{name}.pid"


def free_ports(count: int) -> list[int]:
    """Return different TCP ports of the loopback address that nobody listens on now."""
    with ExitStack() as held:
        return list(_free_ports(count, held))


def _free_ports(count: int, held: ExitStack) -> Iterator[int]:
    for _ in range(count):
        listener = held.enter_context(socket.create_server(("127.0.0.1", 0)))
        yield listener.getsockname()[1]


def _mark_of(process: psutil.Process) -> str | None:
    return _shown(process).get(MARK)


def _shown(process: psutil.Process) -> Mapping[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):  # gone, a zombie, somebody else's, or it hides
        return {}


def _born(pid: int) -> str:
    """When the process started, as text that is the same for the process's whole life."""
    try:
        return f"{psutil.Process(pid).create_time():.1f}"
    except psutil.NoSuchProcess:
        return "gone"


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    _wait_until_ended(processes, seconds=10)


def _wait_until_ended(processes: Sequence[psutil.Process], seconds: float) -> None:
    """Wait until they do nothing any more; init may take its time to reap them."""
    deadline = time.monotonic() + seconds
    while any(_lives(each) for each in processes) and time.monotonic() < deadline:
        time.sleep(0.01)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    except psutil.NoSuchProcess:
        return False
