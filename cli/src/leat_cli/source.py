"""Where runs are read from: one port, two places."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from leat_cli.kept import ArtifactSnapshot
from leat_cli.problems import Invalid
from leat_cli.resources import WorkflowSnapshot
from leat_cli.snapshot import RunSnapshot
from leat_cli.versions import RevisionSnapshot
from leat_engine.inside import Within

if TYPE_CHECKING:
    from leat_engine.durations import Facts


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs are meant.

    Attributes:
        namespace: None means every one.
        phases: Any of these; empty means all.
        selector: Of labels, as `kubectl -l` takes it, or "".
        limit: At most so many, the newest first.
        reason: Why they failed, as a type of error; "" means that it does not matter.
    """

    namespace: str | None
    phases: frozenset[str] = frozenset()
    selector: str = ""
    limit: int = 50
    reason: str = ""

    def takes(self, run: RunSnapshot) -> bool:
        """Whether the run is in one of the phases, and failed for the reason if there is one."""
        return (not self.phases or run.phase in self.phases) and self.reason in {"", run.reason}


class Source(Protocol):
    """A place that knows runs. Every method raises `CommandError` or `LeatError` when the place does not answer."""

    where: str
    namespace: str

    async def runs(self, query: RunQuery) -> list[RunSnapshot]:
        """Return the newest runs, without their steps."""
        ...

    def changes(self, query: RunQuery) -> AsyncIterator[RunSnapshot]:
        """Yield the runs that are there, and from then on each one that is new or has changed. It never ends."""
        ...

    async def run(self, namespace: str, name: str, within: Within | None = None) -> RunSnapshot | None:
        """Return the run of this name, or None; with ``within`` its steps are those of a part of its bodies."""
        ...

    async def artifacts(self, namespace: str, name: str) -> list[ArtifactSnapshot]:
        """Return what the steps of a run have left. Raises `Invalid` when there is no such run."""
        ...

    async def workflows(self, namespace: str | None) -> list[WorkflowSnapshot]:
        """Return the workflows of a namespace, or of all."""
        ...

    async def workflow(self, namespace: str, name: str) -> WorkflowSnapshot | None:
        """Return the workflow of this name, or None."""
        ...

    async def durations(self, namespace: str, workflow: str) -> "Mapping[str, Facts]":
        """Return what is known of how long the steps of a workflow take, by path; nothing before a run has ended."""
        ...

    async def revisions(self, namespace: str, workflow: str) -> list[RevisionSnapshot]:
        """Return the revisions that a workflow has had, the newest first."""
        ...

    async def revision(self, namespace: str, workflow: str, revision: str) -> Mapping[str, Any] | None:
        """Return the spec of one of them, or None."""
        ...

    async def close(self) -> None:
        """Free what the source holds."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """What the user said about where to look: a database URL, a kubeconfig or its context (which win), or neither."""

    database: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Source]:
        """Yield the source.

        Raises:
            CommandError: It cannot be reached.
            LeatError: The same, of a database.
        """
        source = await self._connect()
        try:
            yield source
        finally:
            await source.close()

    async def _connect(self) -> Source:
        if self.database and not self.context and not self.kubeconfig:
            from leat_cli.database import Database

            return await Database.connect(self.database)
        from leat_cli.remote import Cluster

        return Cluster.connect(self)


async def named_run(source: Source, namespace: str, name: str, within: Within | None = None) -> RunSnapshot:
    """Return the run of this name, or a part of it.

    Raises:
        Invalid: There is none, or no such part.
    """
    found = await source.run(namespace, name, within)
    if found is None:
        raise no_run(source, namespace, name)
    return found


def no_run(source: Source, namespace: str, name: str) -> Invalid:
    """Return the error for a run that is not there."""
    message = f"found no run {name!r} in namespace {namespace!r} of {source.where}"
    return Invalid.because(f"{message}: `leat runs -A` lists what is there")
