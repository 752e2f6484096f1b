"""Named places where a test lets the process die, to count afterwards what was lost and what was doubled.

``LEAT_CRASH_AT="after commit:3"`` kills the process with SIGKILL the third time it gets there. Nothing is counted in a
process that was started without the variable.
"""

import os
import signal

_NAME, _, _TIMES = os.environ.get("LEAT_CRASH_AT", "").partition(":")
_left = int(_TIMES or 1)


def crash_point(name: str) -> None:
    """Die here if the environment says so."""
    if _NAME and name == _NAME:
        global _left  # noqa: PLW0603  a process dies once; there is nothing to inject
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
