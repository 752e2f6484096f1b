"""Gates for attempts that have no limits."""

from typing import Any, cast

from leat_runner.gates import Gates
from leat_runner.lobby import Lobby

NOTHING = cast("Any", None)


def no_gates() -> Gates:
    """Gates that nothing passes."""
    return Gates(Lobby(NOTHING, NOTHING, NOTHING))
