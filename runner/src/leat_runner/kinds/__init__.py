"""The kinds: one file per step kind, each turning evaluated fields into one outcome.

The law of this room: a kind knows nothing of runs, stores and queues. It gets a `StepContext` and the fields of its
spec model, does the work once, and returns an `Outcome`. What is expected to go wrong is a `Failed`; an exception that
escapes is a defect. Cancelling ``execute`` leaves no process, connection or file behind. Nobody logs field values.

`transform` and `fail` are missing on purpose: they have no effects, so the engine decides them.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points

from leat_engine.errors import LeatError
from leat_engine.kind import Kind
from leat_engine.pools import Ability
from leat_runner.kinds.function import FunctionKind
from leat_runner.kinds.setup import Clock, KindSettings, KindSetup

__all__ = ["Clock", "KindSettings", "KindSetup", "KindUnusable", "ability_of", "load_kinds"]

GROUP = "leat.kinds"
"""The entry point group. A value is called with a `KindSetup` and returns a `Kind`; usually it is the class itself."""


class KindUnusable(LeatError):
    """An installed kind cannot be loaded. The runner refuses to start rather than fail every step of that kind."""


def load_kinds(setup: KindSetup) -> dict[str, Kind]:
    """Every installed kind by its name, ready to execute; call ``close`` on each when the runner stops.

    Raises:
        KindUnusable: Two packages bring the same name, or a kind cannot be loaded. The message names the package.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        known = found.setdefault(entry.name, entry)
        if known.value != entry.value:
            raise KindUnusable(
                f"kind '{entry.name}' is brought by {_source(known)} and by {_source(entry)}; uninstall one of them"
            )
    return {name: _build(found[name], setup) for name in sorted(found)}


def ability_of(kinds: Mapping[str, Kind], revision: str) -> Ability:
    """What a runner with these kinds announces of its pool."""
    function = kinds.get("function")
    names = function.names if isinstance(function, FunctionKind) else ()
    return Ability(tuple(sorted(kinds)), names, revision)


def _build(entry: EntryPoint, setup: KindSetup) -> Kind:
    try:
        factory: Callable[[KindSetup], Kind] = entry.load()
        return factory(setup)
    except LeatError:
        raise
    except Exception as error:
        raise KindUnusable(f"kind '{entry.name}' of {_source(entry)} cannot be loaded: {error!r}") from error


def _source(entry: EntryPoint) -> str:
    return f"package {entry.dist.name}" if entry.dist else entry.value
