"""Runs of a database, with all their steps and attempts."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from leat_cli.problems import Invalid, Unavailable
from leat_cli.recorded import Recorded, edges_of, outlook_of, plan_of, snapshot_of, steps_within
from leat_cli.resources import WorkflowSnapshot
from leat_cli.snapshot import RunSnapshot
from leat_cli.source import RunQuery
from leat_cli.versions import RevisionSnapshot
from leat_engine.durations import Facts
from leat_engine.errors import StoreRefused, StoreUnavailable
from leat_engine.inside import NOTHING, Inside, NotThere, Within
from leat_engine.job import ROOT_SCOPE
from leat_engine.kin import kin_of, owners_of
from leat_engine.plan import Plan
from leat_engine.records import RunRecord, ShownStep
from leat_engine.store import Store
from leat_engine.store.durations import WorkflowKey

_MOST = 1000  # runs that are looked at for those in a phase
_EVERYTHING = 2**31 - 1  # bytes of an output, and attempts of a step
_EVERY = 2.0  # seconds between two looks for what changed


class Database:
    """The store behind a database URL."""

    where = "the database"
    namespace = "default"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._specs: dict[str, Mapping[str, Any]] = {}  # revisions never change
        self._planned: dict[str, Plan | None] = {}

    @classmethod
    async def connect(cls, url: str) -> "Database":
        """Open the database and check its schema.

        Raises:
            Unavailable: It cannot be opened.
            SchemaMismatch: Its schema is another one than this program's.
        """
        with explained(url):
            return cls(await Store.connect(url, size=1))

    async def runs(self, query: RunQuery) -> list[RunSnapshot]:
        """Return the newest runs, without their steps.

        Raises:
            Invalid: It has a label selector.
        """
        if query.selector:
            raise Invalid.because(
                "labels are on resources of a cluster, a database has none: leave -l or --database out"
            )
        runs = await self._store.shown.runs(query.namespace, _MOST if query.phases or query.reason else query.limit)
        found = [snapshot_of(run, await self._spec(run)) for run in runs]
        return [run for run in found if query.takes(run)][: query.limit]

    async def changes(self, query: RunQuery) -> AsyncIterator[RunSnapshot]:
        """Yield the runs that are there, oldest first, and from then on each one that is new or has changed."""
        seen: dict[str, RunSnapshot] = {}
        while True:
            for run in reversed(await self.runs(query)):
                if seen.get(run.run_id) != run:
                    seen[run.run_id] = run
                    yield run
            await asyncio.sleep(_EVERY)

    async def run(self, namespace: str, name: str, within: Within | None = None) -> RunSnapshot | None:
        """Return the newest run of this name, or None; with what is in its bodies, or only that of a part of them.

        Raises:
            Invalid: There is no such part.
        """
        run = await self._store.find_run(namespace, name)
        if run is None:
            return None
        spec = await self._spec(run)
        plan = self._plan(run.revision, spec)
        if within is not None:
            return await self._part(run, spec, plan, within)
        return await self.whole(run, NOTHING if plan is None else await self._store.scopes.look(run.run_id, plan))

    async def whole(self, run: RunRecord, inside: Inside = NOTHING) -> RunSnapshot:
        """Return a run with its steps and attempts."""
        spec = await self._spec(run)
        nodes = range(1, len(spec.get("steps", ())) + 1)
        steps = await self._store.shown.steps(run.run_id, nodes, _EVERYTHING)
        attempts = await self._store.shown.attempts(run.run_id, nodes, _EVERYTHING)
        plan = self._plan(run.revision, spec)
        estimate = await self._store.durations.estimate(run, plan, datetime.now(UTC)) if plan else None
        children = await self._store.children.show(run.run_id) if run.children else []
        kin = kin_of(run.run_id, children, owners_of(plan) if plan else {})
        recorded = Recorded(steps, attempts, edges_of(plan), plan, inside, kin, outlook_of(estimate))
        return snapshot_of(run, spec, recorded)

    async def _part(self, run: RunRecord, spec: Mapping[str, Any], plan: Plan | None, within: Within) -> RunSnapshot:
        if plan is None:
            raise Invalid.because(f"this program does not take the workflow of run {run.name!r} any more")
        try:
            spot = await self._store.scopes.spot(run.run_id, plan, within)
        except NotThere as error:
            raise Invalid.because(str(error)) from error
        own: list[ShownStep] = []
        if spot.scope == ROOT_SCOPE and spot.node is not None:
            own = await self._store.shown.steps(run.run_id, range(spot.node, spot.node + 1), _EVERYTHING)
        return replace(snapshot_of(run, spec), steps=steps_within(plan, run, spot, own), after=spot.after)

    async def workflows(self, namespace: str | None) -> list[WorkflowSnapshot]:  # noqa: ARG002 - the port's signature
        """Refuse: workflows are resources of a cluster, a database only knows their revisions.

        Raises:
            Invalid: Always.
        """
        raise Invalid.because("workflows live in a cluster, a database holds runs only: leave --database out")

    async def workflow(self, namespace: str, name: str) -> WorkflowSnapshot | None:  # noqa: ARG002 - the port's signature
        """Refuse, as `workflows` does.

        Raises:
            Invalid: Always.
        """
        await self.workflows(namespace)
        return None

    async def durations(self, namespace: str, workflow: str) -> Mapping[str, Facts]:
        """Return what is known of how long the steps of a workflow take, by path."""
        key = WorkflowKey(namespace, workflow)
        return (await self._store.durations.of([key]))[key]

    async def revisions(self, namespace: str, workflow: str) -> list[RevisionSnapshot]:
        """Return the revisions that a workflow has had, the newest first."""
        found = await self._store.versions.history(namespace, workflow)
        return [RevisionSnapshot(one.revision, one.since, one.returned_at, one.active, one.finished) for one in found]

    async def revision(self, namespace: str, workflow: str, revision: str) -> Mapping[str, Any] | None:
        """Return the spec of one of them, or None."""
        found = await self._store.versions.revision(namespace, workflow, revision)
        return None if found is None else found.spec

    async def close(self) -> None:
        """Close the connections."""
        await self._store.close()

    def _plan(self, revision: str, spec: Mapping[str, Any]) -> Plan | None:
        if revision not in self._planned:
            self._planned[revision] = plan_of(spec)
        return self._planned[revision]

    async def _spec(self, run: RunRecord) -> Mapping[str, Any]:
        if run.revision not in self._specs:
            revision = await self._store.revision(run.revision)
            self._specs[run.revision] = revision.spec if revision else {}
        return self._specs[run.revision]


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Say which database it was that refused, or did not answer.

    Raises:
        Unavailable: Instead of what the store says.
    """
    try:
        yield
    except StoreUnavailable as error:
        place = _without_password(url)
        raise Unavailable(f"{place}: {error}: check the URL, and that Postgres runs there") from error
    except StoreRefused as error:
        raise Unavailable(f"{_without_password(url)}: {error}") from error


def _without_password(url: str) -> str:
    """Return the URL as it may be shown."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return "(a URL that cannot be read)"
    return url.replace(f":{password}@", ":***@", 1) if password else url
