"""What a rehearsed run is told from outside, and by which step it is heard: as the store keeps it for a real one."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from leat_engine.job import StepKey
from leat_engine.waits import FOREVER, Delivery, Fate, Heard, Signal, Waiting, Wanted, judge

Clock = Callable[[], datetime]


@dataclass(slots=True)
class _Wait:
    waiting: Waiting
    until: datetime | None
    closed: bool = False
    given: list[Signal] = field(default_factory=list)


class PostOffice:
    """Signals of one run. ``call`` is told which steps have something to hear; ``came``, that one waits."""

    def __init__(self, clock: Clock, call: Callable[[StepKey], None], came: Callable[[Waiting, str], None]) -> None:
        self._clock = clock
        self._call = call
        self._came = came
        self._waits: dict[StepKey, _Wait] = {}
        self._unread: list[Signal] = []
        self._dismissed: set[str] = set()

    def send(self, signal: Signal) -> Delivery:
        """Tell the run."""
        now = self._clock()
        here = {key: wait for key, wait in self._waits.items() if not wait.closed and not _over(wait, now)}
        delivery = judge(signal, [wait.waiting for wait in here.values()], len(self._unread))
        if delivery.fate is not Fate.DELIVERED:
            return delivery
        signal = replace(signal, name=delivery.name, at=now)
        if delivery.key is not None:
            here[delivery.key].given.append(signal)
            self._call(delivery.key)
            return delivery
        self._unread.append(signal)
        for key, wait in here.items():
            if not wait.waiting.approval and wait.waiting.name == signal.name:
                self._call(key)
        return delivery

    def hear(self, key: StepKey, wanted: Wanted) -> Heard:
        """Begin to wait, or go on, and say what was told so far."""
        now, wait = self._clock(), self._waits.get(key)
        if wait is None:
            until = None if wanted.seconds is None else now + timedelta(seconds=wanted.seconds)
            wait = _Wait(Waiting(key, wanted.name, wanted.approval, wanted.rule), until)
            self._waits[key] = wait
            self._came(wait.waiting, wanted.note)
        given = [signal for signal in wait.given if signal.id not in self._dismissed]
        if not given and not wanted.approval and not wait.closed:
            oldest = next((signal for signal in self._unread if signal.name == wanted.name), None)
            if oldest is not None:
                self._unread.remove(oldest)
                wait.given.append(oldest)
                given, wait.closed = [oldest], True
        wait.closed = wait.closed or _over(wait, now)
        seconds = FOREVER if wait.until is None else max(0.0, (wait.until - now).total_seconds())
        return Heard(tuple(given), wait.closed, seconds)

    def dismiss(self, key: StepKey, signal_id: str) -> None:
        """The step does not take this one."""
        self._dismissed.add(signal_id)
        self._waits[key].closed = False

    def close(self, key: StepKey) -> None:
        """Nothing more is for this step."""
        if key in self._waits:
            self._waits[key].closed = True

    @property
    def waiting(self) -> list[Waiting]:
        """What waits now."""
        return [wait.waiting for wait in self._waits.values() if not wait.closed]


@dataclass(frozen=True, slots=True)
class Letterbox:
    """The mail of one step."""

    office: PostOffice
    key: StepKey

    async def hear(self, wanted: Wanted) -> Heard:
        """Begin to wait, or go on."""
        return self.office.hear(self.key, wanted)

    async def dismiss(self, signal_id: str, why: str) -> None:  # noqa: ARG002  the port's signature
        """Do not take this one."""
        self.office.dismiss(self.key, signal_id)

    async def close(self) -> None:
        """Take nothing more."""
        self.office.close(self.key)


def _over(wait: _Wait, now: datetime) -> bool:
    return wait.until is not None and wait.until <= now
