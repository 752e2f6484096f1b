"""What a step that waits hears from outside: the port `Mail`, on the store."""

from leat_engine.store import Store
from leat_engine.store.signals import Mine
from leat_engine.waits import Heard, Wanted
from leat_runner.desk import persistently


class Mailbox:
    """The mail of one claim. It asks until the store answers; a step whose run is stopped meanwhile is cancelled."""

    __slots__ = ("_mine", "_store")

    def __init__(self, store: Store, mine: Mine) -> None:
        self._store = store
        self._mine = mine

    async def hear(self, wanted: Wanted) -> Heard:
        """Begin to wait, or go on."""
        return await persistently("hear", lambda: self._store.signals.hear(self._mine, wanted))

    async def dismiss(self, signal_id: str, why: str) -> None:
        """Do not take this one."""
        await persistently("dismiss", lambda: self._store.signals.dismiss(self._mine, signal_id, why))

    async def close(self) -> None:
        """Take nothing more."""
        await persistently("close", lambda: self._store.signals.close(self._mine))
