"""`leat migrate`: runs that are under way go on by another revision of their workflow."""

import asyncio
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leat_cli import complete, options
from leat_cli.problems import CommandError, Exit, Invalid, Problem, Unavailable

if TYPE_CHECKING:
    from leat_cli.remote import Cluster
    from leat_cli.source import Place
    from leat_engine.compare import Transfer
    from leat_engine.plan import Plan
    from leat_engine.records import RunRecord
    from leat_engine.store import Store

_MOST = 10_000
_ENDED = frozenset({"Succeeded", "Failed", "Cancelled"})
_EVERY = 0.5  # seconds between two looks whether it has happened


@dataclass(frozen=True, slots=True)
class _Order:
    """What was asked for: these runs, or those of a revision of a workflow, to another revision."""

    names: tuple[str, ...]
    workflow: str
    since: str
    to: str
    namespace: str | None
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
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Let runs that are under way go on by another revision of their workflow.

    What has ended is kept, what runs is waited for, what has not begun is planned anew. A run that cannot go on by that
    revision is left as it is, with every reason. `leat revisions` lists what there is. In a cluster the operator does
    it, as `spec.revision` of the runs says then.
    """
    from leat_cli.source import Place

    order = _Order(tuple(names or ()), workflow, since, to, namespace, dry_run, timeout)
    order.check()
    if database and not context and not kubeconfig:
        from leat_cli.database import explained

        with explained(database):
            code = asyncio.run(_migrate_all(order, database))
    elif dry_run:
        raise Invalid.because("--dry-run looks into the database: give --database URL, or set LEAT_DATABASE_URL")
    else:
        code = asyncio.run(_ask_all(order, Place(None, context, kubeconfig)))
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
    namespace = order.namespace or "default"
    if order.workflow:
        runs = await store.versions.pinned(namespace, order.workflow, order.since, _MOST)
        if not runs:
            _found_none(order, namespace)
        return runs
    asked = {name: await store.find_run(namespace, name) for name in order.names}
    missing = [name for name, run in asked.items() if run is None]
    if missing:
        message = "found no run {!r} in namespace {!r} of the database: `leat runs -A` lists what is there"
        raise Invalid(Problem("", 0, "", message.format(name, namespace)) for name in missing)
    return [run for run in asked.values() if run is not None]


def _found_none(order: _Order, namespace: str) -> None:
    place = f"of workflow {order.workflow!r} in namespace {namespace!r}"
    sys.stderr.write(f"found no run {place} that is under way and has revision {order.since}\n")


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


# -- in a cluster -----------------------------------------------------------------------------------------------------


async def _ask_all(order: _Order, place: "Place") -> Exit:
    """Ask for it in the spec of every run; the worst that happened is the exit code."""
    from leat_cli.remote import Cluster

    cluster = Cluster.connect(place)
    namespace = order.namespace or cluster.namespace
    worst = Exit.OK
    try:
        for name in order.names or await _pinned(cluster, namespace, order):
            try:
                await _ask_one(cluster, namespace, name, order)
            except CommandError as error:
                sys.stderr.write(f"{error}\n")
                worst = max(worst, error.code)
    finally:
        await cluster.close()
    return worst


async def _pinned(cluster: "Cluster", namespace: str, order: _Order) -> list[str]:
    """The names of the workflow's runs that have the revision and are not over."""
    from leat_cli.source import RunQuery

    unended = frozenset(str(phase) for phase in options.PhaseName) - _ENDED
    found = [
        str(run["metadata"]["name"])
        for run in await cluster.resources(RunQuery(namespace, unended))
        if (run["spec"].get("workflow") or {}).get("name") == order.workflow
        and (run.get("status") or {}).get("revision") == order.since
    ]
    if not found:
        _found_none(order, namespace)
    return sorted(found)


async def _ask_one(cluster: "Cluster", namespace: str, name: str, order: _Order) -> None:
    from leat_cli.source import no_run

    if await cluster.steer(namespace, name, {"revision": order.to}) is None:
        raise no_run(cluster, namespace, name)
    end = time.monotonic() + order.timeout
    while True:
        run = await cluster.run_resource(namespace, name)
        if run is None:
            raise no_run(cluster, namespace, name)
        status = run.get("status") or {}
        if status.get("revision") == order.to:
            sys.stdout.write(f"workflowrun.leat.dev/{name} goes on by {order.to}\n")
            return
        if refused := _refusal(status, run["metadata"]["generation"]):
            raise Invalid([Problem(name, 0, "", refused)])
        if status.get("phase") in _ENDED:
            raise Invalid.because(f"the run has ended: {status['phase']}", file=name)
        if time.monotonic() > end:
            message = f"{name}: not migrated within {order.timeout:g} s; the operator goes on with it"
            raise Unavailable(f"{message}: its condition Migrated will say what came of it")
        await asyncio.sleep(_EVERY)


def _refusal(status: Mapping[str, Any], generation: int) -> str:
    """Why what the newest spec asks for is refused, or ""."""
    for condition in status.get("conditions") or ():
        if condition["type"] == "Migrated" and condition["status"] == "False":
            return str(condition["message"]) if condition.get("observedGeneration", 0) >= generation else ""
    return ""
