"""`leat revisions`: which revisions a workflow has had, and what differs between two of them."""

import asyncio
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leat_cli import complete, options
from leat_cli.output import print_value
from leat_cli.problems import Invalid

if TYPE_CHECKING:
    from leat_cli.source import Place
    from leat_cli.versions import RevisionSnapshot

_HEADERS = ("REVISION", "SINCE", "ACTIVE", "FINISHED")


def revisions(  # noqa: PLR0913 - the options of a command are its parameters
    workflow: Annotated[str, typer.Argument(help="Name of the workflow.", autocompletion=complete.workflows)],
    *,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option("--diff", metavar="OLD NEW", help="Show what differs between two of them, as YAML."),
    ] = None,
    namespace: options.Namespace = None,
    database: options.Database = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
    output: options.Output = None,
) -> None:
    """List the revisions that a workflow has had, the newest first, with how many runs have them."""
    from leat_cli.source import Place

    if diff is not None and output is not None:
        raise Invalid.because("--diff is for people: leave -o out")
    place = Place(database, context, kubeconfig)
    if diff is not None:
        from leat_cli.versions import difference

        old, new = asyncio.run(_specs(place, namespace, workflow, diff))
        lines = difference((diff[0], old), (diff[1], new))
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        return
    found = asyncio.run(_look(place, namespace, workflow))
    if output is not None:
        print_value([each.as_json() for each in found], output)
        return
    from leat_cli import terminal

    now = datetime.now(UTC)
    terminal.out().print(terminal.table(_HEADERS, [_cells(each, now) for each in found]))


async def _look(place: "Place", namespace: str | None, workflow: str) -> "list[RevisionSnapshot]":
    async with place.open() as source:
        within = namespace or source.namespace
        found = await source.revisions(within, workflow)
        if not found:
            message = f"found no revision of a workflow {workflow!r} in namespace {within!r} of {source.where}"
            raise Invalid.because(f"{message}: it is noted when the workflow is applied, or run")
        return found


async def _specs(
    place: "Place", namespace: str | None, workflow: str, names: tuple[str, str]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    async with place.open() as source:
        within = namespace or source.namespace
        specs = [await source.revision(within, workflow, name) for name in names]
        missing = [name for name, spec in zip(names, specs, strict=True) if spec is None]
        if missing:
            message = f"found no revision {' and no '.join(missing)} of workflow {workflow!r} in namespace {within!r}"
            raise Invalid.because(f"{message}: `leat revisions {workflow}` lists what there is")
        old, new = (spec or {} for spec in specs)
        return old, new


def _cells(found: "RevisionSnapshot", now: datetime) -> tuple[str, ...]:
    from leat_cli import terminal

    since = found.returned or found.since
    age = "" if since is None else terminal.duration((now - since).total_seconds())
    return found.revision, age, str(found.active), str(found.finished)
