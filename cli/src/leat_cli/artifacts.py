"""`leat artifacts`: the files and large outputs that the steps of a run have left."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leat_cli import options
from leat_cli.output import print_value
from leat_cli.problems import Invalid, Unavailable

if TYPE_CHECKING:
    from leat_cli.kept import ArtifactSnapshot
    from leat_engine.records import RunRecord
    from leat_engine.store import Store
    from leat_engine.store.artifacts import Kept

app = typer.Typer(help="Files and large outputs that the steps of a run have left.", no_args_is_help=True)

_HEADERS = ("STEP", "NAME", "SIZE", "TYPE", "SCOPE")

Url = Annotated[
    str,
    typer.Option(
        "--artifacts",
        envvar="LEAT_ARTIFACTS_URL",
        metavar="URL",
        help="The artifact store: s3://BUCKET/PREFIX or file:///DIRECTORY, as the runners have it.",
    ),
]


@app.command("list")
def list_(  # noqa: PLR0913 - the options of a command are its parameters
    name: options.Run,
    *,
    namespace: options.Namespace = None,
    database: options.Database = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
    output: options.Output = None,
) -> None:
    """List what counts: of each step, what the attempt that succeeded has left."""
    from leat_cli import terminal
    from leat_cli.source import Place

    async def ask() -> "list[ArtifactSnapshot]":
        async with Place(database, context, kubeconfig).open() as source:
            return await source.artifacts(namespace or source.namespace, name)

    found = asyncio.run(ask())
    if output is not None:
        print_value([each.as_json() for each in found], output)
    elif found:
        terminal.out().print(terminal.table(_HEADERS, [_cells(each) for each in found]))
    else:
        terminal.err().print(f"run {name} has left no artifacts", markup=False)


@app.command()
def get(  # noqa: PLR0913 - the options of a command are its parameters
    name: options.Run,
    step: Annotated[str, typer.Argument(help="Name of the step.")],
    artifact: Annotated[str, typer.Argument(help="Name of the artifact; `output` is a large output.")],
    *,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write it; stdout unless stated.")
    ] = None,
    scope: Annotated[int | None, typer.Option(min=0, help="Of a step in a body: which time, as in the list.")] = None,
    artifacts: Url = "",
    namespace: options.Namespace = None,
    database: options.Database = None,
) -> None:
    """Write one to a file, or to stdout. Values of the run's sensitive inputs in it are shown as [redacted]."""
    from leat_engine.artifacts import Objects

    if not artifacts:
        raise Invalid.because("nobody said where the artifacts are: give --artifacts URL, or set LEAT_ARTIFACTS_URL")
    objects = Objects.connect(artifacts)

    async def ask() -> None:
        async with _run(database, namespace, name) as (store, run):
            kept = _chosen(await store.artifacts.kept(run.run_id), _Wish(name, step, artifact, scope))
            sensitive = await _sensitive(store, run)
        await _save(_checked(objects.get(kept.reference.key_within(run.namespace)), kept), sensitive, file)

    asyncio.run(ask())


@dataclass(frozen=True, slots=True)
class _Wish:
    run: str
    step: str
    artifact: str
    scope: int | None


def _chosen(found: "list[Kept]", wish: _Wish) -> "Kept":
    """Return the one that is meant.

    Raises:
        Invalid: There is none, or several.
    """
    alike = [kept for kept in found if (kept.step, kept.name) == (wish.step, wish.artifact)]
    fitting = [kept for kept in alike if wish.scope is None or kept.key.scope == wish.scope]
    if not fitting:
        message = f"run {wish.run} has no artifact {wish.artifact!r} of step {wish.step!r}"
        raise Invalid.because(f"{message}: `leat artifacts list {wish.run}` lists what is there")
    if len(fitting) > 1:
        scopes = ", ".join(str(kept.key.scope) for kept in fitting[:20])
        raise Invalid.because(
            f"step {wish.step!r} has left {wish.artifact!r} several times: give --scope, one of {scopes}"
        )
    return fitting[0]


@asynccontextmanager
async def _run(database: str | None, namespace: str | None, name: str) -> "AsyncIterator[tuple[Store, RunRecord]]":
    """Yield the run of this name.

    Raises:
        Invalid: Nobody said which database, or it has no such run.
        Unavailable: It cannot be opened.
    """
    from leat_cli.database import explained
    from leat_engine.store import Store

    if not database:
        raise Invalid.because("what a run has left is in the database: give --database URL, or set LEAT_DATABASE_URL")
    where = namespace or "default"
    with explained(database):
        store = await Store.connect(database, size=1)
        try:
            run = await store.find_run(where, name)
            if run is None:
                raise Invalid.because(f"found no run {name!r} in namespace {where!r} of the database")
            yield store, run
        finally:
            await store.close()


async def _sensitive(store: "Store", run: "RunRecord") -> tuple[str, ...]:
    from leat_cli.snapshot import sensitive_inputs
    from leat_engine.redaction import SHORTEST, Redaction

    revision = await store.revision(run.revision)
    names = frozenset(run.inputs) if revision is None else sensitive_inputs(revision.spec)
    return tuple(text for text in Redaction.of(names, run.inputs).texts if len(text) >= SHORTEST)


async def _checked(pieces: "AsyncIterator[bytes]", kept: "Kept") -> "AsyncIterator[bytes]":
    """Yield the pieces, and see that they are what the step has left."""
    from hashlib import sha256

    digest = sha256()
    async for piece in pieces:
        digest.update(piece)
        yield piece
    if digest.hexdigest() != kept.reference.sha256:
        raise Unavailable(f"{kept.reference.key} is not what the step has left: its SHA-256 is {digest.hexdigest()}")


async def _save(pieces: "AsyncIterator[bytes]", sensitive: tuple[str, ...], file: Path | None) -> None:
    """Write to stdout, or to a file that is there as a whole or not at all."""
    from leat_engine.artifacts.masking import StreamMask
    from leat_engine.redaction import REDACTED

    shown = StreamMask(sensitive, REDACTED.encode()).over(pieces)
    if file is None:
        async for piece in shown:
            await asyncio.to_thread(sys.stdout.buffer.write, piece)
        sys.stdout.buffer.flush()
        return
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as target:
            async for piece in shown:
                await asyncio.to_thread(target.write, piece)
        part.replace(file)
    except OSError as error:
        raise Invalid.because(f"{file} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _cells(found: "ArtifactSnapshot") -> tuple[str, ...]:
    shown = found.as_json()
    return tuple(str(shown[name]) for name in ("step", "name", "size", "contentType", "scope"))
