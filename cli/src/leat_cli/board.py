"""What `leat top` shows: the pools with their queues, and the runs that have not ended. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from leat_cli.readapi import PoolSnapshot
from leat_cli.snapshot import RunSnapshot

if TYPE_CHECKING:
    from rich.text import Text

POOL_HEADERS = ("POOL", "RUNNERS", "DESIRED", "MIN-MAX", "BUSY", "SLOTS", "BACKLOG", "OLDEST", "FUNCTIONS")
RUN_HEADERS = ("NAMESPACE", "NAME", "WORKFLOW", "PHASE", "PROGRESS", "TOOK", "MESSAGE")


@dataclass(frozen=True, slots=True)
class Board:
    """Everything at one moment. ``notes`` say what could not be seen, and why."""

    pools: tuple[PoolSnapshot, ...] = ()
    runs: tuple[RunSnapshot, ...] = ()
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return what `leat top -o json` prints: ``{pools, runs, notes}``."""
        return {
            "pools": [pool.as_json() for pool in self.pools],
            "runs": [run.summary() for run in self.runs],
            "notes": list(self.notes),
        }


def merged(loads: Sequence[PoolSnapshot] | None, resources: Iterable[Mapping[str, Any]]) -> tuple[PoolSnapshot, ...]:
    """Return the pools, by name: what their runners say, and what their RunnerPool says of how many there are to be.

    Args:
        loads: By the read API; None when it could not be asked, then the resources' status stands for it.
        resources: RunnerPools.
    """
    pools = {pool.name: pool for pool in loads or ()}
    for resource in resources:
        name, status = resource["metadata"]["name"], resource.get("status") or {}
        replicas = (resource.get("spec") or {}).get("replicas") or {}
        known = pools.get(name) or _by_status(name, status if loads is None else {})
        pools[name] = replace(known, desired=status.get("desired"), least=replicas.get("min"), most=replicas.get("max"))
    return tuple(pools[name] for name in sorted(pools))


def _by_status(name: str, status: Mapping[str, Any]) -> PoolSnapshot:
    return PoolSnapshot(
        name,
        runners=status.get("ready") or 0,
        slots=status.get("slots") or 0,
        busy=status.get("busy") or 0,
        backlog=status.get("backlog") or 0,
        functions=tuple(status.get("functions") or ()),
    )


def pool_cells(pool: PoolSnapshot) -> tuple["str | Text", ...]:
    """Return the row of a pool."""
    from leat_cli import terminal

    oldest = "" if pool.oldest is None else terminal.duration(pool.oldest)
    bounds = "" if pool.least is None and pool.most is None else f"{_number(pool.least)}-{_number(pool.most)}"
    counts = (str(pool.busy), str(pool.slots), str(pool.backlog), oldest)
    return (pool.name, str(pool.runners), _number(pool.desired), bounds, *counts, ", ".join(pool.functions))


def run_cells(run: RunSnapshot, now: datetime) -> tuple["str | Text", ...]:
    """Return the row of a run."""
    from leat_cli import terminal

    took = terminal.took(run.started_at, run.finished_at, now)
    return (run.namespace, run.name, run.workflow, terminal.state(run.phase), run.progress, took, run.message)


def _number(number: int | None) -> str:
    return "" if number is None else str(number)
