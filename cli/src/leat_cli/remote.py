"""Runs, workflows and pools of a cluster: their resources, and what the read API knows beside them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from leat_cli import readapi
from leat_cli.board import Board, merged
from leat_cli.cluster import ApiServer, Query, Refused
from leat_cli.inputs import parse_pairs
from leat_cli.kept import ArtifactSnapshot
from leat_cli.problems import Invalid, Unavailable
from leat_cli.readapi import LogPage, LogQuery
from leat_cli.resources import WorkflowSnapshot, run_of_resource, workflow_of_resource
from leat_cli.snapshot import RunSnapshot, StepSnapshot
from leat_cli.source import Place, RunQuery, no_run
from leat_cli.versions import RevisionSnapshot
from leat_engine.inside import Within
from leat_engine.result import Phase

if TYPE_CHECKING:
    from leat_engine.durations import Facts

GROUP, VERSION = "leat.dev", "v1alpha1"
_PAGE = 500
_GROUPS, _GROUP_CHARS = 256, 253  # that a WorkflowSignal names
_UNENDED = frozenset(phase.label for phase in Phase if not phase.done)
_WATCH = 240  # seconds until the API server ends a watch, which is then taken up again
_PAUSE = 1.0  # seconds before a watch that broke is taken up again


class NotBegun(Unavailable):
    """The operator knows nothing of a run, which may be about to begin."""


class Cluster:
    """The runs of one cluster."""

    where = "the cluster"

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._gap = ""  # why there are no steps: said once, it is not asked for again
        self.namespace = server.namespace

    @classmethod
    def connect(cls, place: Place) -> "Cluster":
        """Read the kubeconfig; the API server is not asked yet.

        Raises:
            Unavailable: There is no kubeconfig, or no such context in it.
        """
        return cls(ApiServer.connect(place))

    async def runs(self, query: RunQuery) -> list[RunSnapshot]:
        """Return the newest runs, without steps and inputs."""
        items, _ = await self._list("workflowruns", query.namespace, _selection(query))
        items.sort(key=_created, reverse=True)
        return [run for item in items if query.takes(run := run_of_resource(item, None))][: query.limit]

    async def changes(self, query: RunQuery) -> AsyncIterator[RunSnapshot]:
        """Yield the runs that are there, oldest first, and from then on each one that is new or has changed.

        Raises:
            CommandError: The first list could not be had; later the cluster is asked again until it answers.
        """
        news = Changes(query)
        where = _selection(replace(query, phases=frozenset(), reason=""))  # so that a run is seen to leave a phase, too
        items, version = await self._list("workflowruns", query.namespace, where)
        while True:
            for run in news.of(items):
                yield run
            items = []
            watched = {**where, "resourceVersion": version, "timeoutSeconds": _WATCH, "allowWatchBookmarks": "true"}
            try:
                async with self._server.watch(_path("workflowruns", query.namespace), watched, _WATCH) as events:
                    async for event in events:
                        version = _version(event)
                        for run in news.of([event["object"]] if event["type"] in {"ADDED", "MODIFIED"} else []):
                            yield run
            except Unavailable:
                await asyncio.sleep(_PAUSE)
                with suppress(Unavailable):  # then the watch says so again
                    items, version = await self._list("workflowruns", query.namespace, where)

    async def brief(self, namespace: str, name: str) -> RunSnapshot:
        """Return what the resource of a run says, without asking for its steps and its Workflow.

        Raises:
            Invalid: There is no such run.
        """
        resource = await self._get("workflowruns", namespace, name)
        if resource is None:
            raise no_run(self, namespace, name)
        return run_of_resource(resource, None)

    async def run(self, namespace: str, name: str, within: Within | None = None) -> RunSnapshot | None:
        """Return a run, or None when there is none; with its steps where the read API has them.

        A run without a resource, such as a child run, is known to the read API alone.

        Raises:
            Invalid: There is nothing ``within``.
        """
        resource = await self._get("workflowruns", namespace, name)
        if resource is None:
            return await self._without_resource(namespace, name)
        reference = (resource["spec"].get("workflow") or {}).get("name")
        workflow = await self._get("workflows", namespace, reference) if reference else None
        run = run_of_resource(resource, workflow["spec"] if workflow else None)
        return await (self._with_steps(run) if within is None else self._with_part(run, within))

    async def log(self, namespace: str, name: str, query: LogQuery) -> LogPage:
        """Return a page of a run's log.

        Raises:
            NotBegun: The run is not in the store, yet or at all.
            Unavailable: The read API has none; says why.
        """
        try:
            return readapi.log_of(await self._server.get(readapi.log_path(namespace, name), query.as_query()))
        except Refused as error:
            kind = NotBegun if error.missing else Unavailable
            raise kind(_why_not(error, readapi.LOG), lasting=error.lasting) from error

    async def artifacts(self, namespace: str, name: str) -> list[ArtifactSnapshot]:
        """Return what the steps of a run have left.

        Raises:
            Invalid: The run is not in the store, yet or at all.
            Unavailable: The read API has none; says why.
        """
        found: list[ArtifactSnapshot] = []
        page: dict[str, str | int] = {}
        while True:
            try:
                answer = await self._server.get(readapi.artifacts_path(namespace, name), page)
            except Refused as error:
                if error.missing:
                    raise Invalid.because(error.reason) from error
                raise Unavailable(_why_not(error, readapi.ARTIFACTS), lasting=error.lasting) from error
            found += map(ArtifactSnapshot.of, answer["items"])
            if not (after := answer["metadata"].get("continue")):
                return found
            page = {"continue": after}

    async def revisions(self, namespace: str, workflow: str) -> list[RevisionSnapshot]:
        """Return the revisions that a workflow has had, the newest first.

        Raises:
            Unavailable: The read API has none; says why.
        """
        try:
            answer = await self._server.get(readapi.revisions_path(namespace, workflow))
        except Refused as error:
            raise Unavailable(_why_not(error, readapi.REVISIONS), lasting=error.lasting) from error
        return [RevisionSnapshot.of(item) for item in answer["items"]]

    async def revision(self, namespace: str, workflow: str, revision: str) -> Mapping[str, Any] | None:
        """Return the spec of one of them, or None.

        Raises:
            Unavailable: The read API does not say.
        """
        try:
            answer = await self._server.get(readapi.revisions_path(namespace, workflow, quote(revision, safe="")))
        except Refused as error:
            if error.missing:
                return None
            raise Unavailable(_why_not(error, readapi.REVISIONS), lasting=error.lasting) from error
        spec: Mapping[str, Any] = answer["spec"]
        return spec

    async def board(self, namespace: str | None) -> Board:
        """Return the pools, and the runs of a namespace, or of all, that have not ended.

        Raises:
            Unavailable: There are no runs to be had. Of pools it says only in a note why there are none.
        """
        runs = await self.runs(RunQuery(namespace, _UNENDED, limit=_PAGE))
        notes: list[str] = []
        loads, resources = None, list[dict[str, Any]]()
        try:
            loads = readapi.pools_of(await self._server.get(readapi.POOLS))
        except Refused as error:
            notes.append(f"the load of pools is not known: {_why_not(error, 'pools')}")
        try:
            resources, _ = await self._list("runnerpools", None, {})
        except Unavailable as error:
            notes.append(f"no RunnerPools: {error}")
        return Board(merged(loads, resources), tuple(runs), tuple(notes))

    async def steer(self, namespace: str, name: str, wish: Mapping[str, Any]) -> RunSnapshot | None:
        """Change fields of a run's spec, and return what became of it; None when there is no such run."""
        path = _path("workflowruns", namespace, name)
        try:
            return run_of_resource(await self._server.patch(path, {"spec": dict(wish)}), None)
        except Refused as error:
            if error.missing:
                return None
            raise

    async def myself(self) -> tuple[str, tuple[str, ...]]:
        """Return who the API server takes the user for: a name, and groups."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await self._server.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
        user = answer["status"]["userInfo"]
        groups = (group for group in user.get("groups") or () if len(group) <= _GROUP_CHARS)
        return str(user["username"]), tuple(islice(groups, _GROUPS))

    async def send_signal(self, namespace: str, run: str, spec: Mapping[str, Any]) -> str:
        """Create a WorkflowSignal that goes with its run, and return its name.

        Raises:
            Invalid: There is no such run.
        """
        resource = await self._get("workflowruns", namespace, run)
        if resource is None:
            raise no_run(self, namespace, run)
        owner = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "WorkflowRun", "name": run}
        metadata = {"generateName": f"{run[:200]}-", "ownerReferences": [owner | {"uid": resource["metadata"]["uid"]}]}
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "WorkflowSignal", "metadata": metadata, "spec": dict(spec)}
        created = await self._known("workflowsignals", self._server.post(_path("workflowsignals", namespace), body))
        return str(created["metadata"]["name"])

    async def signal_status(self, namespace: str, name: str) -> dict[str, Any]:
        """Return what became of a WorkflowSignal; nothing when it is gone."""
        found = await self._get("workflowsignals", namespace, name)
        return dict((found or {}).get("status") or {})

    async def run_resource(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Return a run's resource as it is, or None when there is none."""
        return await self._get("workflowruns", namespace, name)

    async def resources(self, query: RunQuery) -> list[dict[str, Any]]:
        """Return all resources of runs that are meant, whatever the limit."""
        items, _ = await self._list("workflowruns", query.namespace, _selection(query))
        return items

    async def reruns(self, namespace: str) -> list[dict[str, Any]]:
        """Return the resources of runs that go on from others."""
        items, _ = await self._list("workflowruns", namespace, {"fieldSelector": "spec.rerun.of!="})
        return items

    async def create_run(self, namespace: str, run: Mapping[str, Any]) -> dict[str, Any]:
        """Create a run, and return it as the API server has it.

        Raises:
            Refused: By the API server, by whoever judges resources for it, or as its name is taken (409).
        """
        return await self._known("workflowruns", self._server.post(_path("workflowruns", namespace), run))

    async def changed_inputs(self, namespace: str, spec: Mapping[str, Any], pairs: Sequence[str]) -> dict[str, Any]:
        """Return the inputs that ``NAME=VALUE`` pairs give, as the workflow of a run's spec wants them.

        Raises:
            Invalid: With every pair that is wrong.
        """
        if not pairs:
            return {}
        workflow = spec.get("inline") or (await self._get("workflows", namespace, spec["workflow"]["name"]) or {}).get(
            "spec", {}
        )
        return parse_pairs(pairs, workflow.get("inputs") or {}, "--set")

    async def workflows(self, namespace: str | None) -> list[WorkflowSnapshot]:
        """Return the workflows of a namespace, or of all, by name."""
        items, _ = await self._list("workflows", namespace, {})
        return sorted(map(workflow_of_resource, items), key=lambda found: (found.namespace, found.name))

    async def workflow(self, namespace: str, name: str) -> WorkflowSnapshot | None:
        """Return a workflow, or None when there is no such resource."""
        resource = await self._get("workflows", namespace, name)
        return workflow_of_resource(resource) if resource else None

    async def durations(self, namespace: str, workflow: str) -> "Mapping[str, Facts]":
        """Return what is known of how long the steps of a workflow take, by path.

        Raises:
            Unavailable: The read API has nothing of it; says why.
        """
        try:
            return readapi.durations_of(await self._server.get(readapi.durations_path(namespace, workflow)))
        except Refused as error:
            raise Unavailable(_why_not(error, readapi.DURATIONS), lasting=error.lasting) from error

    async def resource(self, plural: str, namespace: str, name: str) -> dict[str, Any] | None:
        """Return a resource as it is, or None when there is none of this name."""
        return await self._get(plural, namespace, name)

    async def create(self, plural: str, namespace: str, body: Mapping[str, Any]) -> bool:
        """Create a resource; False when there is one of its name."""
        try:
            await self._known(plural, self._server.post(_path(plural, namespace), body))
        except Refused as error:
            if error.status == HTTPStatus.CONFLICT:
                return False
            raise
        return True

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()

    async def _without_resource(self, namespace: str, name: str) -> RunSnapshot | None:
        try:
            answer = await self._server.get(readapi.steps_path(namespace, name), {"limit": 1})
        except Refused:
            return None
        return await self._with_steps(readapi.run_of(namespace, name, answer))

    async def _with_steps(self, run: RunSnapshot) -> RunSnapshot:
        if self._gap:
            return replace(run, gap=self._gap)
        found: list[StepSnapshot] = []
        page: dict[str, str | int] = {}
        try:
            while True:
                answer = await self._server.get(readapi.steps_path(run.namespace, run.name), page)
                found += readapi.steps_of(answer, ended=run.done)
                run = replace(run, outlook=readapi.outlook_of(answer) or run.outlook)
                page["continue"] = answer["metadata"].get("continue") or ""
                if not page["continue"]:
                    return replace(run, steps=tuple(found), children=readapi.children_of(answer))
        except Refused as error:
            gap = _why_not(error, readapi.STEPS)
            if error.lasting and not error.missing:
                self._gap = gap
            return replace(run, gap=gap)

    async def _with_part(self, run: RunSnapshot, within: Within) -> RunSnapshot:
        page: dict[str, str | int] = {"scope": within.path, "continue": within.after, "limit": within.limit}
        try:
            answer = await self._server.get(readapi.steps_path(run.namespace, run.name), page)
        except Refused as error:
            if error.missing:
                raise Invalid.because(error.reason) from error
            return replace(run, gap=_why_not(error, readapi.STEPS))
        after = answer["metadata"].get("continue")
        steps = tuple(readapi.steps_of(answer, ended=run.done))
        return replace(run, steps=steps, after=int(after) if after else None)

    async def _list(self, plural: str, namespace: str | None, where: Query) -> tuple[list[dict[str, Any]], str]:
        items: list[dict[str, Any]] = []
        page: dict[str, str | int] = {**where, "limit": _PAGE}
        while True:
            answer = await self._known(plural, self._server.get(_path(plural, namespace), page))
            items += answer["items"]
            page["continue"] = answer["metadata"].get("continue") or ""
            if not page["continue"]:
                return items, str(answer["metadata"]["resourceVersion"])

    async def _get(self, plural: str, namespace: str, name: str) -> dict[str, Any] | None:
        try:
            return await self._known(plural, self._server.get(_path(plural, namespace, name)))
        except Refused as error:
            if error.missing:
                return None
            raise

    async def _known(self, plural: str, answer: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        try:
            return await answer
        except Refused as error:
            if error.status == HTTPStatus.NOT_FOUND and not error.missing:
                message = f"the cluster at {error.host} knows no {plural}.{GROUP}"
                raise Unavailable(f"{message}: install Leat there, or use another --context", lasting=True) from error
            raise


class Changes:
    """What is new among runs that are seen again and again."""

    def __init__(self, query: RunQuery) -> None:
        self._query = query
        self._seen: dict[tuple[str, str], RunSnapshot] = {}

    def of(self, resources: Iterable[dict[str, Any]]) -> list[RunSnapshot]:
        """Return the runs that are new or have changed, if they are among those that are asked for, or were."""
        found = []
        for resource in sorted(resources, key=_created):
            run = run_of_resource(resource, None)
            before = self._seen.get((run.namespace, run.name))
            self._seen[run.namespace, run.name] = run
            if run != before and (self._query.takes(run) or (before is not None and self._query.takes(before))):
                found.append(run)
        return found


def _created(resource: Mapping[str, Any]) -> str:
    return str(resource["metadata"].get("creationTimestamp", ""))


def _version(event: Mapping[str, Any]) -> str:
    """Return where a watch goes on after this event."""
    found = event["object"]
    if event["type"] == "ERROR":  # such as 410: what it asked for is forgotten
        raise Unavailable(str(found.get("message")))
    return str(found["metadata"]["resourceVersion"])


def _path(plural: str, namespace: str | None, name: str = "") -> str:
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{GROUP}/{VERSION}{within}/{plural}" + (f"/{name}" if name else "")


def _selection(query: RunQuery) -> dict[str, str | int]:
    """Return what the API server itself can leave out. A run that nobody has seen yet has no phase: Pending."""
    others = sorted(phase.label for phase in Phase if phase.label not in query.phases) if query.phases else []
    reason = [f"status.reason={query.reason}"] if query.reason else []
    fields = ",".join([f"status.phase!={phase}" for phase in others] + reason)
    return {name: text for name, text in (("labelSelector", query.selector), ("fieldSelector", fields)) if text}


def _why_not(error: Refused, resource: str) -> str:
    return readapi.why_not(error.status, error.reason, resource, served=error.served)
