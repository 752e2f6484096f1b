"""Postgres: the truth about every run. One async method per query, one verb per ``.sql`` file.

Nothing here decides; statements apply what was decided, fenced by the attempt and by the runner's own row. The order in
which locks are taken is the same everywhere: runner, run (by id), timer, ready, step.
"""

from leat_engine.store.schema import migrate
from leat_engine.store.store import Store

__all__ = ["Store", "migrate"]
