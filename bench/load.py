"""What the figures mean: a load to put on an engine, the samples it yields, runs per second and latencies out of those.

Standard library only: the peers' drivers import this in environments that have nothing of Leat.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

STEPS = 5
"""Sequential no-op steps in one run, the same for every engine."""


@dataclass(frozen=True)
class Load:
    """How long and how hard an engine is driven: saturated first, then paced.

    ``seconds`` is the length of the window each phase is judged by, ``warm_up`` what is thrown away before it,
    ``rate`` the starts per second of the paced phase.
    """

    seconds: float = 10.0
    warm_up: float = 3.0
    rate: float = 20.0

    @property
    def observed(self) -> float:
        """Seconds of the saturated phase after its warm-up: room for the window to find its best place."""
        return 1.5 * self.seconds

    @property
    def paced(self) -> float:
        """Seconds of the paced phase, warm-up included."""
        return self.warm_up + self.seconds


@dataclass(frozen=True)
class Sample:
    """One run: when its start was asked for and when its last step was done, in seconds on one clock."""

    started: float
    finished: float


@dataclass(frozen=True)
class Figures:
    """What is said of an engine at one setting: runs per second saturated, latencies in ms at the paced rate."""

    setting: str
    runs_per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Measured:
    """What an engine's module hands back: figures by setting, and the versions of what was measured."""

    settings: Sequence[Figures]
    versions: Mapping[str, str]

    @property
    def best(self) -> Figures:
        """The setting the engine is reported at: the one with the most runs per second."""
        return max(self.settings, key=lambda one: one.runs_per_s)


def percentile(values: Iterable[float], q: float) -> float:
    """The smallest value that at least a share ``q`` (0..1) of the values do not exceed.

    By nearest rank, so that it is always a value that was seen.

    Raises:
        ValueError: there are no values, or ``q`` lies outside 0..1.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values: nothing finished under this load")
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"q is {q}, expected 0..1")
    return ordered[max(math.ceil(q * len(ordered)), 1) - 1]


def schedule(rate: float, seconds: float) -> list[float]:
    """Offsets in seconds at which to start runs: by the clock, so that a slow engine cannot slow its load down."""
    return [number / rate for number in range(int(rate * seconds))]


def best_window(finished: Iterable[float], seconds: float) -> float:
    """Runs per second in the window of ``seconds`` that saw the most runs finish.

    A window lies wholly within the time observed (first to last finish).

    Raises:
        ValueError: less than one window was observed.
    """
    ordered = sorted(finished)
    if not ordered or ordered[-1] - ordered[0] < seconds:
        observed = ordered[-1] - ordered[0] if ordered else 0.0
        raise ValueError(f"observed {observed:.1f} s of finished runs, less than one window of {seconds:.1f} s")
    # The finish that opens a window is not counted: n finishes after it in `seconds` are n whole intervals.
    counts = (
        bisect_right(ordered, opens + seconds) - index - 1
        for index, opens in enumerate(ordered)
        if ordered[-1] - opens >= seconds
    )
    return max(counts) / seconds


def figures(setting: str, saturated: Sequence[Sample], paced: Sequence[Sample], seconds: float) -> Figures:
    """The figures of one setting from the samples of its two phases, warm-up already taken off."""
    latencies = [1000.0 * (sample.finished - sample.started) for sample in paced]
    return Figures(
        setting=setting,
        runs_per_s=best_window((sample.finished for sample in saturated), seconds),
        p50_ms=percentile(latencies, 0.50),
        p99_ms=percentile(latencies, 0.99),
    )
