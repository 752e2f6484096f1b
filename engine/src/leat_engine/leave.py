"""How a process ends that may have used an object store.

The client's own threads go on for a moment after their last answer. Should they want the interpreter while it is taken
down, they abort the process (https://github.com/PyO3/pyo3-async-runtimes/issues/40): all was done, and the exit code
says that it crashed.
"""

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def left_alone() -> Iterator[None]:
    """Around all that a process does: where the client was used, it ends without taking the interpreter down."""
    code = 0
    try:
        yield
    except SystemExit as end:
        if "obstore" not in sys.modules:
            raise
        code = _number(end.code)
    if "obstore" in sys.modules:
        atexit._run_exitfuncs()  # noqa: SLF001  what is done at any other end, too
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _number(code: object) -> int:
    """The exit code that `sys.exit` would have made of it."""
    if code is None or isinstance(code, int):
        return code or 0
    print(code, file=sys.stderr)  # noqa: T201  as the interpreter does
    return 1
