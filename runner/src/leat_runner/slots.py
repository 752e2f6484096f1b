"""How much a runner does at once: slots by weight."""

from leat_engine.kind import Weight


class Slots:
    """Capacity in units: an I/O step takes one, a CPU step the share of a core.

    With ``io`` = 200 and ``cpu`` = 2, a CPU step takes 100 units: 200 I/O steps run at once, or 2 CPU steps, or a mix.
    """

    def __init__(self, io: int, cpu: int) -> None:
        self.capacity = io
        self.used = 0
        self._units = {Weight.IO: 1, Weight.CPU: max(1, io // max(1, cpu))}

    @property
    def free(self) -> int:
        """Units that are not taken; below zero when claims turned out heavier than they looked."""
        return self.capacity - self.used

    def units(self, weight: Weight) -> int:
        """Units that a step of this weight takes."""
        return self._units[weight]

    def take(self, units: int) -> bool:
        """Reserve ``units`` if they are free."""
        if self.used + units > self.capacity:
            return False
        self.used += units
        return True

    def force(self, units: int) -> None:
        """Take ``units`` whether they are free or not: the step is claimed already."""
        self.used += units

    def give(self, units: int) -> None:
        """Return ``units``."""
        self.used -= units
