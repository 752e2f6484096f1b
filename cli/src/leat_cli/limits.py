"""`leat limits`, and `leat get breakers`: what holds steps and runs back in a database."""

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from leat_cli import options
from leat_cli.output import Format, print_value
from leat_cli.problems import Invalid

if TYPE_CHECKING:
    from leat_engine.restraint import ShownLimits

_SLOTS = ("NAMESPACE", "CONCURRENCY", "HELD", "LIMIT", "WAITING", "OLDEST", "HOLDERS")
_BUCKETS = ("NAMESPACE", "RATE LIMIT", "QUIET IN")
_BREAKERS = ("NAMESPACE", "BREAKER", "STATE", "FAILURES", "TRIED IN")


def limits(
    *,
    namespace: options.Namespace = None,
    database: options.Database = None,
    output: options.Output = None,
) -> None:
    """List limits that are in use: who holds slots, who waits, rates with starts to come, breakers. Of a database."""
    found = look(database, namespace)
    if output is not None:
        print_value(asdict(found), output)
        return
    _print(_SLOTS, [_slot_cells(slot) for slot in asdict(found)["slots"]])
    _print(_BUCKETS, [_bucket_cells(bucket) for bucket in asdict(found)["buckets"]])
    show_breakers(found, None)
    if not (found.slots or found.buckets or found.breakers):
        from leat_cli import terminal

        terminal.err().print("no limit holds anything back", markup=False)


def look(database: str | None, namespace: str | None) -> "ShownLimits":
    """Return the limits of a namespace, or of all.

    Raises:
        Invalid: Nobody said which database.
        Unavailable: It cannot be opened.
    """
    from leat_cli.database import explained
    from leat_engine.store import Store

    if not database:
        raise Invalid.because("limits are kept in the database: give --database URL, or set LEAT_DATABASE_URL")

    async def ask() -> "ShownLimits":
        store = await Store.connect(database, size=1)
        try:
            return await store.turns.show(namespace)
        finally:
            await store.close()

    with explained(database):
        return asyncio.run(ask())


def show_breakers(found: "ShownLimits", form: Format | None) -> None:
    """Print the breakers alone."""
    rows = [asdict(breaker) for breaker in found.breakers]
    if form is not None:
        print_value(rows, form)
    else:
        _print(_BREAKERS, [_breaker_cells(row) for row in rows])


def _slot_cells(slot: dict[str, Any]) -> tuple[str, ...]:
    numbers = (str(slot[name]) for name in ("held", "capacity", "waiting"))
    return (slot["namespace"], slot["key"], *numbers, _time(slot["oldest_seconds"]), ", ".join(slot["holders"]))


def _bucket_cells(bucket: dict[str, Any]) -> tuple[str, ...]:
    return bucket["namespace"], bucket["key"], _time(bucket["seconds"])


def _breaker_cells(row: dict[str, Any]) -> tuple[str, ...]:
    return row["namespace"], row["key"], row["state"], str(row["failures"]), _time(row["seconds"])


def _time(seconds: float | None) -> str:
    from leat_cli import terminal

    return "" if seconds is None else terminal.duration(seconds)


def _print(headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from leat_cli import terminal

    if rows:
        terminal.out().print(terminal.table(headers, rows))
