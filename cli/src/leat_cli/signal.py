"""`leat signal`, `approve` and `reject`: what somebody tells a run that waits for it."""

import asyncio
import getpass
import json
import sys
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leat_cli import options
from leat_cli.problems import Exit, Invalid

if TYPE_CHECKING:
    from leat_engine.waits import Delivery

_EVERY = 0.2  # seconds between two looks at what became of it
_PATIENCE = 15.0  # seconds in which the operator says so, if it is there

Name = Annotated[str, typer.Argument(help="Name of the signal.")]
Approval = Annotated[str | None, typer.Argument(metavar="NAME", help="Of the approval, if the run waits for several.")]
Payload = Annotated[str, typer.Option("--payload", "-p", metavar="JSON", help="What the step is given; - reads stdin.")]
Comment = Annotated[str, typer.Option("--comment", "-m", metavar="TEXT", help="What you say to it.")]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="LEAT_DATABASE_URL",
        metavar="URL",
        help="Tell the run through its database, such as that of `leat run`; nobody checks there who you are.",
    ),
]
As = Annotated[
    str, typer.Option("--as", metavar="USER", help="With --database: who says so; your user name unless stated.")
]
Groups = Annotated[
    list[str] | None, typer.Option("--group", metavar="GROUP", help="With --database: groups that the user is in.")
]


@dataclass(frozen=True, slots=True)
class Said:
    """What is told, and to which run."""

    run: str
    name: str | None
    payload: Any = None
    approve: bool | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Where:
    """Where the run is, and with a database who says so."""

    database: str | None
    namespace: str | None
    context: str | None
    kubeconfig: str | None
    user: str = ""
    groups: tuple[str, ...] = ()


def signal(  # noqa: PLR0913 - the options of a command are its parameters
    run: options.Run,
    name: Name,
    *,
    payload: Payload = "null",
    database: Database = None,
    user: As = "",
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Send a run a signal. A step that waits for one of this name goes on; before that, the run keeps it."""
    text = sys.stdin.read() if payload == "-" else payload
    _say(Said(run, name, _json(text)), Where(database, namespace, context, kubeconfig, user))


def approve(  # noqa: PLR0913 - the options of a command are its parameters
    run: options.Run,
    name: Approval = None,
    *,
    comment: Comment = "",
    database: Database = None,
    user: As = "",
    group: Groups = None,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Approve what a run waits for."""
    where = Where(database, namespace, context, kubeconfig, user, tuple(group or ()))
    _say(Said(run, name, approve=True, comment=comment), where)


def reject(  # noqa: PLR0913 - the options of a command are its parameters
    run: options.Run,
    name: Approval = None,
    *,
    comment: Comment = "",
    database: Database = None,
    user: As = "",
    group: Groups = None,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Reject what a run waits for an approval of: the step fails."""
    where = Where(database, namespace, context, kubeconfig, user, tuple(group or ()))
    _say(Said(run, name, approve=False, comment=comment), where)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        message = f"--payload: found {text[:60]!r}, expected JSON, such as '{{\"paid\": true}}' or '\"text\"': {error}"
        raise Invalid.because(message) from error


def _say(said: Said, where: Where) -> None:
    in_store = where.database and not where.context and not where.kubeconfig
    if not in_store and (where.user or where.groups):
        raise Invalid.because("--as and --group go with --database: a cluster knows who you are")
    code = asyncio.run(_in_database(said, where) if in_store else _in_cluster(said, where))
    if code is not Exit.OK:
        raise typer.Exit(code)


async def _in_database(said: Said, where: Where) -> Exit:
    from leat_cli.database import Database, explained
    from leat_cli.source import no_run
    from leat_engine.store import Store
    from leat_engine.waits import Signal

    url = where.database or ""
    with explained(url):
        store = await Store.connect(url, size=1)
    try:
        namespace = where.namespace or Database.namespace
        run = await store.find_run(namespace, said.run)
        if run is None:
            raise no_run(Database(store), namespace, said.run)
        signal = Signal(
            id=str(uuid.uuid4()),
            name=said.name or "",
            payload=said.payload,
            approve=said.approve,
            comment=said.comment,
            by=where.user or getpass.getuser(),
            groups=where.groups,
        )
        return _told(await store.signals.deliver(run.run_id, signal))
    finally:
        await store.close()


def _told(delivery: "Delivery") -> Exit:
    from leat_engine.waits import Fate

    return _shown("Rejected" if delivery.fate is Fate.REFUSED else "Delivered", delivery.message)


async def _in_cluster(said: Said, where: Where) -> Exit:
    from leat_cli.remote import Cluster
    from leat_cli.source import Place

    cluster = Cluster.connect(Place(context=where.context, kubeconfig=where.kubeconfig))
    namespace = where.namespace or cluster.namespace
    try:
        user, groups = await cluster.myself()
        spec: dict[str, Any] = {"run": said.run, "by": user}
        if said.name is not None:
            spec["name"] = said.name
        if said.approve is None:
            spec["payload"] = said.payload
        else:
            spec |= {"approve": said.approve, "groups": list(groups)}
        if said.comment:
            spec["comment"] = said.comment
        name = await cluster.send_signal(namespace, said.run, spec)
        status = await _decided(cluster, namespace, name)
    finally:
        await cluster.close()
    return _shown(status.get("phase") or "Pending", status.get("message") or "the operator has not seen it yet")


async def _decided(cluster: Any, namespace: str, name: str) -> dict[str, Any]:
    """Return its status, as soon as that says what became of it, or after some patience."""
    status: dict[str, Any] = {}
    try:
        async with asyncio.timeout(_PATIENCE):
            while status.get("phase") not in {"Delivered", "Rejected"}:
                status = await cluster.signal_status(namespace, name)
                await asyncio.sleep(_EVERY)
    except TimeoutError:
        return status
    return status


def _shown(phase: str, message: str) -> Exit:
    if phase == "Rejected":
        sys.stderr.write(f"{message}\n")
        return Exit.FAILED
    sys.stdout.write(f"{phase.lower()}: {message}\n")
    return Exit.OK
