"""A breaker as a machine of three states. Pure; the store keeps its row locked between the question and the answer."""

from dataclasses import dataclass, replace
from enum import StrEnum

from leat_engine.restraint import Fuse


class Position(StrEnum):
    """What the breaker does with attempts."""

    CLOSED = "Closed"  # lets all through, and counts failures
    OPEN = "Open"  # lets none through
    HALF_OPEN = "HalfOpen"  # it has cooled down: lets one through, whose end decides


@dataclass(frozen=True, slots=True)
class Switch:
    """A breaker as it is kept.

    Attributes:
        failures: When it counted failures, oldest first; none while it is not closed.
        open_until: When it will have cooled down; None while it is closed.
        probing: An attempt that was let through half-open is still under way.
    """

    failures: tuple[float, ...] = ()
    open_until: float | None = None
    probing: bool = False

    def position(self, now: float) -> Position:
        """The state at a time."""
        if self.open_until is None:
            return Position.CLOSED
        return Position.OPEN if now < self.open_until else Position.HALF_OPEN


@dataclass(frozen=True, slots=True)
class Pass:
    """Whether an attempt may go. ``probe``: it is the one that decides. ``wait``: seconds until it may help to ask."""

    allowed: bool
    probe: bool = False
    wait: float = 0.0


def ask(switch: Switch, fuse: Fuse, now: float) -> Pass:
    """May an attempt go?"""
    match switch.position(now):
        case Position.CLOSED:
            return Pass(allowed=True)
        case Position.OPEN:
            return Pass(allowed=False, wait=(switch.open_until or now) - now)
        case Position.HALF_OPEN:
            if switch.probing:
                return Pass(allowed=False, wait=min(1.0, fuse.cool_down))
            return Pass(allowed=True, probe=True)


def heard(switch: Switch, fuse: Fuse, now: float, *, failed: bool, probe: bool) -> Switch:
    """The breaker after an attempt that it had let through."""
    if probe:
        return Switch(open_until=now + fuse.cool_down) if failed else Switch()
    if not failed or switch.open_until is not None:
        return switch  # what began before it opened says nothing new
    recent = (*(at for at in switch.failures if at > now - fuse.window), now)
    if len(recent) >= fuse.failures:
        return Switch(open_until=now + fuse.cool_down)
    return replace(switch, failures=recent)
