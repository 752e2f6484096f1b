"""`leat migrate`: runs that are under way go on by another revision of their workflow."""

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from leat_cli import complete, options
from leat_cli.problems import CommandError, Exit, Invalid, Problem, Unavailable

if TYPE_CHECKING:
    from leat_engine.compare import Transfer
    from leat_engine.plan import Plan
    from leat_engine.records import RunRecord
    from leat_engine.store import Store

_MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Order:
    """What was asked for: these runs, or those of a revision of a workflow, to another revision."""

    names: tuple[str, ...]
    workflow: str
    since: str
    to: str
    namespace: str
    dry: bool
    timeout: float

    def check(self) -> None:
        if bool(self.names) == bool(self.workflow or self.since):
            raise Invalid.because("expected one of: names of runs, --workflow NAME with --from REVISION")
        if bool(self.workflow) != bool(self.since):
            raise Invalid.because("--workflow NAME and --from REVISION go together: which runs are meant?")


def migrate(  # noqa: PLR0913 - the options of a command are its parameters
    names: Annotated[list[str] | None, typer.Argument(help="Names of runs.", autocompletion=complete.runs)] = None,
    *,
    to: Annotated[str, typer.Option("--to", metavar="REVISION", help="The revision to go on by.")],
    workflow: Annotated[
        str,
        typer.Option(metavar="NAME", help="Every run of this workflow ...", autocompletion=complete.workflows),
    ] = "",
    since: Annotated[str, typer.Option("--from", metavar="REVISION", help="... that has this revision.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for a run's running steps to end.")] = 60.0,
    namespace: options.Namespace = None,
    database: options.Database = None,
) -> None:
    """Let runs that are under way go on by another revision of their workflow.

    What has ended is kept, what runs is waited for, what has not begun is planned anew. A run that cannot go on by that
    revision is left as it is, with every reason. `leat revisions` lists what there is.
    """
    order = _Order(tuple(names or ()), workflow, since, to, namespace or "default", dry_run, timeout)
    order.check()
    if not database:
        raise Invalid.because("runs are migrated in the database: give --database URL, or set LEAT_DATABASE_URL")
    from leat_cli.database import explained

    with explained(database):
        code = asyncio.run(_migrate_all(order, database))
    if code is not Exit.OK:
        raise typer.Exit(code)


async def _migrate_all(order: _Order, url: str) -> Exit:
    """Every run, whatever becomes of the others; the worst that happened is the exit code."""
    from leat_engine.store import Store

    store = await Store.connect(url, size=1)
    worst = Exit.OK
    try:
        found = await _found(store, order)
        for run in found:
            try:
                await _migrate_one(store, run, order)
            except CommandError as error:
                sys.stderr.write(f"{error}\n")
                worst = max(worst, error.code)
    finally:
        await store.close()
    return worst


async def _found(store: "Store", order: _Order) -> "list[RunRecord]":
    if order.workflow:
        runs = await store.versions.pinned(order.namespace, order.workflow, order.since, _MOST)
        if not runs:
            place = f"of workflow {order.workflow!r} in namespace {order.namespace!r}"
            sys.stderr.write(f"found no run {place} that is under way and has revision {order.since}\n")
        return runs
    asked = {name: await store.find_run(order.namespace, name) for name in order.names}
    missing = [name for name, run in asked.items() if run is None]
    if missing:
        message = "found no run {!r} in namespace {!r} of the database: `leat runs -A` lists what is there"
        raise Invalid(Problem("", 0, "", message.format(name, order.namespace)) for name in missing)
    return [run for run in asked.values() if run is not None]


async def _migrate_one(store: "Store", run: "RunRecord", order: _Order) -> None:
    from leat_engine.errors import Rejected
    from leat_engine.migrate import migrate as carry_over
    from leat_engine.store.versions import Claimed

    if run.revision == order.to:
        sys.stdout.write(f"{run.name} has revision {order.to} already\n")
        return
    plans = await _plan(store, run, run.revision), await _plan(store, run, order.to)
    try:
        if order.dry:
            transfer = await store.versions.foresee(run.run_id, *plans)
        else:
            transfer, _ = await carry_over(store, run.run_id, plans, order.timeout)
    except Rejected as rejected:
        raise Invalid(Problem(run.name, 0, reason.path, reason.message) for reason in rejected.reasons) from rejected
    except Claimed as error:
        message = f"{run.name}: {error} after {order.timeout:g} s, and it goes on as it was"
        raise Unavailable(f"{message}: ask again with a longer --timeout, or when they have ended") from error
    verb = "can be migrated" if order.dry else "migrated"
    sys.stdout.write(f"{run.name} {verb} from {run.revision} to {order.to}: {_summary(transfer)}\n")
    sys.stdout.flush()


async def _plan(store: "Store", run: "RunRecord", name: str) -> "Plan":
    from leat_engine.errors import Rejected
    from leat_engine.plan import compile_plan
    from leat_engine.spec import parse_spec
    from leat_engine.spec.kinds import load_models

    revision = await store.versions.revision(run.namespace, run.workflow, name)
    if revision is None:
        message = f"workflow {run.workflow!r} in namespace {run.namespace!r} has had no revision {name}"
        raise Invalid.because(f"{message}: `leat revisions {run.workflow}` lists what there is", file=run.name)
    try:
        return compile_plan(parse_spec(revision.spec), load_models(), name)
    except Rejected as rejected:
        message = f"this version of Leat cannot read revision {name}: {rejected}"
        raise Invalid.because(message, file=run.name) from rejected


def _summary(transfer: "Transfer") -> str:
    fresh = sum(each.fresh for each in transfer.ready)
    more = f"{abs(transfer.more)} steps {'more' if transfer.more > 0 else 'less'}" if transfer.more else "as many steps"
    return f"{more}, {fresh} ready anew"
