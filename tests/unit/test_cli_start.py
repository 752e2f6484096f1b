"""What the command line costs to start."""

import subprocess
import sys


def test_help_imports_neither_clients_nor_rich_nor_the_engine():
    # Counted, not timed: these are what makes a start slow.
    script = "import sys, leat_cli.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    clients = {"rich.live", "rich.console", "textual", "kubernetes", "asyncpg", "yaml", "structlog"}
    heavy = {*clients, "pydantic", "leat_engine.plan", "leat_runner"}
    assert heavy.isdisjoint(done.stdout.split())
