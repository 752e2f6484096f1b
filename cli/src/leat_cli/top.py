"""`leat top`: pools, queues and runs, live."""

import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from leat_cli import options
from leat_cli.output import print_value

if TYPE_CHECKING:
    from leat_cli.board import Board


def top(  # noqa: PLR0913 - the options of a command are its parameters
    *,
    once: Annotated[bool, typer.Option("--once", help="Print it once, as anything but a terminal gets it.")] = False,
    namespace: options.Namespace = None,
    all_namespaces: options.AllNamespaces = False,
    output: options.Output = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Watch pools, their queues, and the runs that have not ended. On a terminal its last line names the keys."""
    from leat_cli.remote import Cluster
    from leat_cli.source import Place

    live = sys.stdout.isatty() and sys.stdin.isatty() and not once and output is None

    async def ask() -> "Board | None":
        cluster = Cluster.connect(Place(context=context, kubeconfig=kubeconfig))
        where = None if all_namespaces else namespace or cluster.namespace
        try:
            if not live:
                return await cluster.board(where)
            from leat_cli.dashboard import Dashboard

            await Dashboard(cluster, where).run_async()
        finally:
            await cluster.close()
        return None

    board = asyncio.run(ask())
    if board is not None and output is not None:
        print_value(board.as_json(), output)
    elif board is not None:
        _print(board)


def _print(board: "Board") -> None:
    from leat_cli import terminal
    from leat_cli.board import POOL_HEADERS, RUN_HEADERS, pool_cells, run_cells

    out, err, now = terminal.out(), terminal.err(), datetime.now(UTC)
    if board.pools:
        out.print(terminal.table(POOL_HEADERS, map(pool_cells, board.pools)))
    if board.pools and board.runs:
        out.print()
    if board.runs:
        out.print(terminal.table(RUN_HEADERS, [run_cells(run, now) for run in board.runs]))
    else:
        err.print("no run is under way")
    for note in board.notes:
        err.print(note, markup=False)
