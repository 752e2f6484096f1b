"""`leat redrive`: failed runs of a workflow, run again as `leat rerun` runs one, each once however often it is said."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leat_cli import complete, options
from leat_cli.output import print_value
from leat_cli.problems import Exit, Invalid
from leat_cli.snapshot import rfc3339

if TYPE_CHECKING:
    from leat_cli.again import Again, Picked, Redrive
    from leat_cli.remote import Cluster

PLANNED, CREATED, THERE, REFUSED, LEFT = "planned", "created", "there", "refused", "left"
_SENTENCES = {
    PLANNED: "would be created: goes on from {run}",
    CREATED: "created: goes on from {run}",
    THERE: "is there: goes on from {run}",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one failed run."""

    redrive: "Redrive"
    state: str
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return what `-o json` prints: the failed run, its successor, and whether that was made now."""
        run = self.redrive.run
        return {
            "run": run.name,
            "reason": run.reason,
            "message": run.message,
            "finishedAt": rfc3339(run.finished_at),
            "rerun": self.redrive.name,
            "state": self.state,
            "problem": self.problem or None,
        }

    def __str__(self) -> str:
        """Return the line that people read."""
        if self.state == REFUSED:
            return f"workflowrun.leat.dev/{self.redrive.run.name} cannot be run again: {self.problem}"
        sentence = _SENTENCES[self.state].format(run=self.redrive.run.name)
        return f"workflowrun.leat.dev/{self.redrive.name} {sentence}"


def redrive(  # noqa: PLR0913 - the options of a command are its parameters
    *,
    workflow: Annotated[
        str, typer.Option("--workflow", metavar="NAME", help="Its runs.", autocompletion=complete.workflows)
    ],
    since: Annotated[str, typer.Option(metavar="DURATION", help="Those that failed in this time, such as 1h or 2d.")],
    reason: Annotated[
        str, typer.Option(metavar="TYPE", help="Only those that failed with this error, such as RunnerLost.")
    ] = "",
    changes: options.Changes = None,
    selector: options.Selector = "",
    limit: Annotated[int, typer.Option(min=1, help="Create at most so many, for those first that failed first.")] = 100,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
    output: options.Output = None,
) -> None:
    """Run failed runs of a workflow again, from the steps that failed. Said twice, it is done once.

    Exits with 1 when one of them cannot be run again.
    """
    from leat_cli.again import Picked
    from leat_cli.source import Place

    picked = Picked(workflow, datetime.now(UTC) - timedelta(seconds=_seconds(since)), reason)
    wanted = _Wanted(picked, tuple(changes or ()), selector, limit, dry_run)
    told = asyncio.run(_all(Place(context=context, kubeconfig=kubeconfig), namespace, wanted, spoken=output is None))
    if output is not None:
        print_value([each.as_json() for each in told], output)
    _sum_up(told, wanted)
    if any(each.state == REFUSED for each in told):
        raise typer.Exit(Exit.FAILED)


@dataclass(frozen=True, slots=True)
class _Wanted:
    picked: "Picked"
    changes: tuple[str, ...]
    selector: str
    limit: int
    dry_run: bool


async def _all(place: Any, namespace: str | None, wanted: _Wanted, *, spoken: bool) -> list[Told]:
    from leat_cli.remote import Cluster

    cluster = Cluster.connect(place)
    told = []
    try:
        async for each in _redriven(cluster, namespace or cluster.namespace, wanted):
            told.append(each)
            if spoken and each.state != LEFT:
                sys.stdout.write(f"{each}\n")
                sys.stdout.flush()
    finally:
        await cluster.close()
    return told


async def _redriven(cluster: "Cluster", namespace: str, wanted: _Wanted) -> AsyncIterator[Told]:
    """Do it one by one, and tell each as soon as it is done: who is interrupted begins anew, and repeats nothing."""
    from leat_cli.again import Again, redrives
    from leat_cli.source import RunQuery

    failed = await cluster.resources(RunQuery(namespace, frozenset({"Failed"}), wanted.selector))
    found = redrives(failed, await cluster.reruns(namespace), wanted.picked)
    source: Mapping[str, Any] = {"workflow": {"name": wanted.picked.workflow}}
    again = Again(inputs=await cluster.changed_inputs(namespace, source, wanted.changes))
    made = 0
    for each in found:
        if each.there:
            yield Told(each, THERE)
        elif made == wanted.limit:
            yield Told(each, LEFT)
        else:
            made += 1
            yield Told(each, PLANNED) if wanted.dry_run else await _create(cluster, namespace, each, again)


async def _create(cluster: "Cluster", namespace: str, each: "Redrive", again: "Again") -> Told:
    from leat_cli.again import successor
    from leat_cli.cluster import Refused

    try:
        await cluster.create_run(namespace, successor(each.resource, again, each.name))
    except Refused as error:
        if error.status == HTTPStatus.CONFLICT:  # somebody else redrives them too
            return Told(each, THERE)
        if error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:  # the others would be answered the same
            raise
        return Told(each, REFUSED, error.reason)
    return Told(each, CREATED)


def _sum_up(told: list[Told], wanted: _Wanted) -> None:
    counts = {state: sum(each.state == state for each in told) for state in (PLANNED, CREATED, THERE, REFUSED, LEFT)}
    words = {
        PLANNED: "would be created",
        CREATED: "created",
        THERE: "there already",
        REFUSED: "cannot be run again",
        LEFT: f"left for another time (--limit {wanted.limit})",
    }
    parts = [f"{counts[state]} {text}" for state, text in words.items() if counts[state]]
    nothing = f"found no failed run of {wanted.picked.workflow} that is meant"
    sys.stderr.write((", ".join(parts) or nothing) + "\n")


def _seconds(since: str) -> float:
    from leat_engine.spec import parse_duration

    try:
        return parse_duration(since)
    except ValueError as error:
        raise Invalid.because(f"--since: {error}") from error
