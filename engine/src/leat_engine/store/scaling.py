"""The question that a scaler asks Postgres by itself, without the operator: how many runners does a pool need?"""

import re

from leat_engine.store.store import SQL

_POOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


def needed_query(pool: str, slots: int) -> str:
    """`needed.sql` for a client that has no parameters, on one line.

    Raises:
        ValueError: The name is none that a pool can have, so that it cannot be written into a statement.
    """
    if not _POOL.fullmatch(pool):
        raise ValueError(f"found {pool!r}, expected the name of a pool")
    statement = " ".join(
        line.partition("--")[0].strip() for line in SQL["needed"].splitlines() if not line.startswith("--")
    )
    return statement.replace("$1", f"'{pool}'").replace("$2::int", str(int(slots))).rstrip("; ")
