"""`leat logs`: what the steps of one run wrote."""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from leat_cli import complete, options
from leat_cli.problems import Invalid

if TYPE_CHECKING:
    from leat_cli.readapi import LogLine, LogPage, LogQuery
    from leat_cli.snapshot import RunSnapshot

    Read = Callable[[LogQuery], Awaitable[LogPage]]

_EVERY = 1.0  # seconds between two looks for new lines


@dataclass(frozen=True, slots=True)
class Form:
    """What stands before the text of a line."""

    prefix: bool
    timestamps: bool

    def line(self, line: "LogLine") -> str:
        """Return the line as it is printed."""
        step = f"[{line.step}#{line.attempt}] " if self.prefix and line.attempt > 1 else f"[{line.step}] "
        at = f"{line.at:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z " if self.timestamps and line.at else ""
        return f"{at}{step if self.prefix else ''}{line.text.rstrip(chr(10))}\n"


def logs(  # noqa: PLR0913 - the options of a command are its parameters
    name: options.Run,
    *,
    step: Annotated[
        str | None,
        typer.Option("--step", "-s", metavar="NAME", help="Only of this step.", autocompletion=complete.steps),
    ] = None,
    attempt: Annotated[int | None, typer.Option(min=1, help="Only of this attempt.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, help="Of what is there, only the last so many lines.")] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="When each line was written, in UTC.")] = False,
    prefix: Annotated[
        bool | None, typer.Option("--prefix/--no-prefix", help="Which step wrote it; on unless --step is given.")
    ] = None,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Print what the steps of one run wrote, oldest first.

    With --follow it waits for a run that has not begun, and takes a lost connection up again where it broke.
    """
    from leat_cli import terminal
    from leat_cli.follow import Patience
    from leat_cli.readapi import LogQuery
    from leat_cli.remote import Cluster, NotBegun
    from leat_cli.source import Place, named_run

    form = Form(step is None if prefix is None else prefix, timestamps)
    patience = Patience(lambda text: terminal.err().print(text, markup=False), _EVERY)

    async def ask() -> None:
        source = Cluster.connect(Place(context=context, kubeconfig=kubeconfig))
        try:
            where = namespace or source.namespace
            _check(step, await named_run(source, where, name) if step else await source.brief(where, name))

            async def read(query: LogQuery) -> "LogPage":
                while follow:
                    try:
                        return await patience.ask(lambda: source.log(where, name, query))
                    except NotBegun:
                        if (await patience.ask(lambda: source.brief(where, name))).done:
                            break
                    await asyncio.sleep(_EVERY)
                return await source.log(where, name, query)

            query = LogQuery(step, attempt)
            query = await print_written(read, query, form, tail)
            if follow:
                async for page in written_from_now(read, query):
                    _print(page.lines, form)
        finally:
            await source.close()

    asyncio.run(ask())


def _check(step: str | None, run: "RunSnapshot") -> None:
    names = [known.name for known in run.steps or ()]
    if step and names and step not in names:
        raise Invalid.because(f"found --step {step!r}, expected a step of run {run.name}: {', '.join(names)}")


async def print_written(read: "Read", query: "LogQuery", form: Form, tail: int | None) -> "LogQuery":
    """Print the lines that are there, and return what to ask for next."""
    last: deque[LogLine] = deque(maxlen=tail)
    while True:
        page = await read(query)
        query = replace(query, after=query.after if page.after is None else page.after)
        if tail is None:
            _print(page.lines, form)
        last.extend(page.lines if tail else ())
        if page.finished or not page.lines:
            break
    _print(last, form)
    return query


async def written_from_now(read: "Read", query: "LogQuery") -> "AsyncIterator[LogPage]":
    """Yield what is written from now on, until the run has ended and all of it was had."""
    while True:
        page = await read(query)
        yield page
        if page.finished:
            return
        query = replace(query, after=query.after if page.after is None else page.after)
        if not page.lines:
            await asyncio.sleep(_EVERY)


def _print(lines: "Iterable[LogLine]", form: Form) -> None:
    sys.stdout.writelines(map(form.line, lines))
    sys.stdout.flush()
