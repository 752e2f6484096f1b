"""`leat backfill`: the runs of a schedule for a time that has passed, or that nobody kept."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from leat_cli import complete, options
from leat_cli.output import print_value
from leat_cli.problems import Invalid, Problem

if TYPE_CHECKING:
    from leat_cli.remote import Cluster
    from leat_cli.source import Place
    from leat_engine.schedule import Policy
    from leat_engine.trigger import Trigger

MOST = 1000

_WHEN = "A date or a time, such as 2026-03-01 or 2026-03-01T06:00; of the schedule's time zone unless it says another."


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked for. ``since`` and ``until`` are as they were written."""

    workflow: str
    trigger: str
    since: str
    until: str


def backfill(  # noqa: PLR0913 - the options of a command are its parameters
    workflow: Annotated[str, typer.Argument(help="Name of the Workflow.", autocompletion=complete.workflows)],
    *,
    trigger: Annotated[
        str, typer.Option("--trigger", metavar="NAME", help="The schedule; its only one unless stated.")
    ] = "",
    since: Annotated[str, typer.Option("--from", metavar="TIME", help=f"First moment. {_WHEN}")],
    until: Annotated[
        str, typer.Option("--to", metavar="TIME", help="Up to this moment and with it; now unless stated.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be started, and start nothing.")] = False,
    output: options.Output = None,
    database: options.Database = None,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Start the runs of a schedule between two times.

    A moment whose run is there is left alone; with --database also one whose WorkflowRun has been deleted since. All
    are started at once, whatever the schedule says of overlaps.
    """
    from leat_cli.source import Place

    ask = Ask(workflow, trigger, since, until)
    place = Place(context=context, kubeconfig=kubeconfig)
    done = asyncio.run(_backfill(ask, place, database, namespace, dry_run=dry_run))
    if output is not None:
        print_value(done, output)
        return
    for each in done:
        sys.stdout.write(f"workflowrun.leat.dev/{each['name']} {each['what']}\n")


async def _backfill(
    ask: Ask, place: "Place", database: str | None, namespace: str | None, *, dry_run: bool
) -> list[dict[str, Any]]:
    from leat_cli.remote import Cluster
    from leat_engine.errors import Rejected
    from leat_engine.trigger import SCHEDULED_AT, run_at

    cluster = Cluster.connect(place)
    within = namespace or cluster.namespace
    try:
        chosen, policy = await _schedule(cluster, within, ask)
        moments = moments_of(policy, ask, datetime.now(UTC))
        try:
            bodies = [run_at(ask.workflow, chosen, moment) for moment in moments]
        except Rejected as rejected:
            raise Invalid(Problem("", 0, reason.path, reason.message) for reason in rejected.reasons) from rejected
        known = await _known(database, within, [body["metadata"]["name"] for body in bodies])
        done: list[dict[str, Any]] = []
        for body in bodies:
            name = body["metadata"]["name"]
            what = "is there" if name in known else await _start(cluster, within, body, dry_run=dry_run)
            done.append({"name": name, "scheduledAt": body["metadata"]["annotations"][SCHEDULED_AT], "what": what})
    finally:
        await cluster.close()
    if not done:
        sys.stderr.write(f"{ask.workflow} has no moment between these times\n")
    return done


async def _schedule(cluster: "Cluster", namespace: str, ask: Ask) -> "tuple[Trigger, Policy]":
    """The schedule that is meant."""
    from leat_engine.errors import Rejected
    from leat_engine.spec import parse_workflow
    from leat_engine.trigger import compile_triggers

    body = await cluster.resource("workflows", namespace, ask.workflow)
    if body is None:
        message = f"found no Workflow {ask.workflow!r} in namespace {namespace!r} of {cluster.where}"
        raise Invalid.because(f"{message}: `leat get workflows` lists what is there")
    try:
        spec = parse_workflow(body).spec
        found = compile_triggers(spec.triggers, spec.inputs)
    except Rejected as rejected:
        raise Invalid(Problem("", 0, reason.path, reason.message) for reason in rejected.reasons) from rejected
    schedules = {trigger.name: (trigger, trigger.policy) for trigger in found if trigger.policy is not None}
    name = ask.trigger or (next(iter(schedules)) if len(schedules) == 1 else "")
    if name not in schedules:
        there = ", ".join(schedules) or "none"
        raise Invalid.because(f"found --trigger {ask.trigger!r}, expected a schedule of {ask.workflow}: {there}")
    return schedules[name]


def moments_of(policy: "Policy", ask: Ask, now: datetime) -> Sequence[datetime]:
    """The moments that are asked for.

    Raises:
        Invalid: The times are none, lie ahead or have too much between them.
    """
    from leat_engine.schedule import due

    since = _time("--from", ask.since, policy.cron.zone)
    until = _time("--to", ask.until, policy.cron.zone) if ask.until else now
    if until > now:
        raise Invalid.because("found --to in the future, expected a time that has passed: the schedule runs the others")
    if since > until:
        raise Invalid.because(f"found --from {ask.since} behind --to {ask.until or 'now'}")
    found = due(policy.cron, since - timedelta(microseconds=1), until, MOST + 1)
    if len(found) > MOST:
        raise Invalid.because(f"found more than {MOST} moments between these times; ask for fewer at a time")
    return found


def _time(option: str, text: str, zone: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"found {option} {text!r}, expected a date or a time such as 2026-03-01 or 2026-03-01T06:00"
        raise Invalid.because(message) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)


async def _known(database: str | None, namespace: str, names: Sequence[str]) -> frozenset[str]:
    """Those of the names that the database has a run of."""
    if not database:
        return frozenset()
    from leat_engine.store import Store

    store = await Store.connect(database, size=1)
    try:
        return frozenset([name for name in names if await store.find_run(namespace, name) is not None])
    finally:
        await store.close()


async def _start(cluster: "Cluster", namespace: str, body: dict[str, Any], *, dry_run: bool) -> str:
    if dry_run:
        there = await cluster.resource("workflowruns", namespace, body["metadata"]["name"])
        return "would be started" if there is None else "is there"
    return "started" if await cluster.create("workflowruns", namespace, body) else "is there"
