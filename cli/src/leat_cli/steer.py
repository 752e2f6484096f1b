"""`leat cancel`, `suspend` and `resume`: what is to become of runs, written into their specs."""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leat_cli import complete, options
from leat_cli.problems import CommandError, Exit, Invalid

if TYPE_CHECKING:
    from leat_cli.remote import Cluster
    from leat_cli.snapshot import RunSnapshot
    from leat_cli.source import Place

_EVERY = 0.5  # seconds between two looks whether it has happened

Names = Annotated[list[str] | None, typer.Argument(help="Names of runs.", autocompletion=complete.runs)]
All = Annotated[bool, typer.Option("--all", help="Every run of the namespace that has not ended; asks first.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="With --all: do not ask.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it has happened.")]


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants of a run.

    Attributes:
        verb: Of the command; ``told``: what is printed when it was asked for.
        change: Of the run's spec.
        holds: Whether it has happened.
        late: Whether it holds of a run that has ended, too, so that asking again is no mistake.
    """

    verb: str
    told: str
    change: Mapping[str, Any]
    holds: "Callable[[RunSnapshot], bool]"
    late: bool


CANCEL = Wish("cancel", "is being cancelled", {"cancel": True}, lambda run: run.done, late=True)
SUSPEND = Wish("suspend", "is being suspended", {"suspend": True}, lambda run: run.phase == "Suspended", late=False)
RESUME = Wish(
    "resume", "goes on", {"suspend": False}, lambda run: run.phase not in {"Suspended", "Pending"}, late=False
)


@dataclass(frozen=True, slots=True)
class Which:
    """Which runs are meant: those named, those with the labels, or all of the namespace."""

    names: Sequence[str]
    selector: str
    everything: bool

    def check(self) -> None:
        """Refuse none and two of them.

        Raises:
            Invalid: With what is expected.
        """
        given = sum((bool(self.names), bool(self.selector), self.everything))
        if given != 1:
            raise Invalid.because("expected one of: names of runs, -l LABELS, --all")


def cancel(  # noqa: PLR0913 - the options of a command are its parameters
    names: Names = None,
    *,
    selector: options.Selector = "",
    everything: All = False,
    yes: Yes = False,
    wait: Wait = False,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """End runs: running steps are interrupted, nothing new starts. It cannot be taken back."""
    _steer(CANCEL, Which(names or (), selector, everything), _Where(namespace, context, kubeconfig), _How(yes, wait))


def suspend(  # noqa: PLR0913 - the options of a command are its parameters
    names: Names = None,
    *,
    selector: options.Selector = "",
    everything: All = False,
    yes: Yes = False,
    wait: Wait = False,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Pause runs: running steps end, nothing new starts until `leat resume`."""
    _steer(SUSPEND, Which(names or (), selector, everything), _Where(namespace, context, kubeconfig), _How(yes, wait))


def resume(  # noqa: PLR0913 - the options of a command are its parameters
    names: Names = None,
    *,
    selector: options.Selector = "",
    everything: All = False,
    yes: Yes = False,
    wait: Wait = False,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Let suspended runs go on."""
    _steer(RESUME, Which(names or (), selector, everything), _Where(namespace, context, kubeconfig), _How(yes, wait))


@dataclass(frozen=True, slots=True)
class _Where:
    namespace: str | None
    context: str | None
    kubeconfig: str | None

    def place(self) -> "Place":
        from leat_cli.source import Place

        return Place(context=self.context, kubeconfig=self.kubeconfig)


@dataclass(frozen=True, slots=True)
class _How:
    yes: bool
    wait: bool


def _steer(wish: Wish, which: Which, where: _Where, how: _How) -> None:
    which.check()
    code = asyncio.run(_steer_all(wish, which, where, how))
    if code is not Exit.OK:
        raise typer.Exit(code)


async def _steer_all(wish: Wish, which: Which, where: _Where, how: _How) -> Exit:
    """Ask for it of every run, whatever becomes of the others; the worst that happened is the exit code."""
    from leat_cli.remote import Cluster

    cluster = Cluster.connect(where.place())
    namespace = where.namespace or cluster.namespace
    worst = Exit.OK
    try:
        names = which.names or await _found(cluster, namespace, wish, which)
        if which.everything and names and not how.yes:
            _confirm(wish, namespace, names)
        for name in names:
            try:
                worst = max(worst, await _steer_one(cluster, namespace, name, wish, wait=how.wait))
            except CommandError as error:
                sys.stderr.write(f"{error}\n")
                worst = max(worst, error.code)
    finally:
        await cluster.close()
    return worst


async def _steer_one(cluster: "Cluster", namespace: str, name: str, wish: Wish, *, wait: bool) -> Exit:
    from leat_cli.source import no_run

    run = await cluster.brief(namespace, name)
    if wish is CANCEL and run.phase == "Compensating":
        sys.stdout.write(
            f"workflowrun.leat.dev/{name} cleans up, which cannot be cancelled: it ends when that is done\n"
        )
        sys.stdout.flush()
        return await _wait(cluster, run, wish) if wait else Exit.OK
    if not run.done:
        steered = await cluster.steer(namespace, name, wish.change)
        if steered is None:
            raise no_run(cluster, namespace, name)
        sys.stdout.write(f"workflowrun.leat.dev/{name} {wish.told}\n")
        sys.stdout.flush()
        return await _wait(cluster, run, wish) if wait else Exit.OK
    message = f"workflowrun.leat.dev/{name} has ended: {run.phase}"
    if not wish.late:
        raise Invalid.because(f"{message}; there is nothing to {wish.verb}")
    sys.stdout.write(f"{message}\n")
    return Exit.OK


async def _wait(cluster: "Cluster", run: "RunSnapshot", wish: Wish) -> Exit:
    """Wait until it has happened; FAILED when the run ended in another way before."""
    from leat_cli.follow import Patience

    patience = Patience(_note, _EVERY)
    namespace, name = run.namespace, run.name
    while not (wish.holds(run) or run.done):
        await asyncio.sleep(_EVERY)
        run = await patience.ask(lambda: cluster.brief(namespace, name))
    sys.stdout.write(f"workflowrun.leat.dev/{run.name} {run.phase}\n")
    as_wished = run.phase == "Cancelled" if wish is CANCEL else wish.holds(run)
    return Exit.OK if as_wished else Exit.FAILED


async def _found(cluster: "Cluster", namespace: str, wish: Wish, which: Which) -> list[str]:
    """Return the names of the runs that have not ended and where the wish does not hold yet."""
    from leat_cli.source import RunQuery

    phases = frozenset(str(phase) for phase in options.PhaseName) - {"Succeeded", "Failed", "Cancelled"}
    query = RunQuery(namespace, frozenset({"Suspended"}) if wish is RESUME else phases, which.selector, sys.maxsize)
    names = [run.name for run in await cluster.runs(query)]
    if not names:
        _note(f"found nothing to {wish.verb} in namespace {namespace}")
    return names


def _confirm(wish: Wish, namespace: str, names: Sequence[str]) -> None:
    if not sys.stdin.isatty():
        raise Invalid.because(f"--all would {wish.verb} {len(names)} runs of {namespace}: add --yes to say so")
    if not typer.confirm(f"{wish.verb} {len(names)} runs of {namespace}?", err=True):
        raise typer.Exit(Exit.FAILED)


def _note(text: str) -> None:
    sys.stderr.write(f"{text}\n")
