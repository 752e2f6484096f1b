"""The read API: steps of runs, revisions of workflows, load of pools, for those whose Kubernetes rights say so."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from leat_engine.inside import SCOPES, NotThere, Within
from leat_engine.job import ROOT_SCOPE
from leat_engine.limits import ITEMS
from leat_engine.opener import Fan, Loop
from leat_engine.plan import Plan
from leat_engine.records import RunRecord, ShownStep
from leat_engine.spelling import unknown
from leat_engine.store import Store
from leat_engine.store.durations import WorkflowKey
from leat_operator.admit import run_id
from leat_operator.cluster import Cluster
from leat_operator.objects import RUNS, Resource, Right
from leat_operator.serving.access import Access
from leat_operator.serving.answers import API_VERSION, DOCUMENTS, GROUP, VERSION, Answer
from leat_operator.serving.caller import Caller, FrontProxy
from leat_operator.serving.compiler import Compiler
from leat_operator.serving.views import (
    ATTEMPTS,
    OUTPUT_BYTES,
    PAGE_STEPS,
    Page,
    pool_loads,
    run_log,
    run_steps,
    step_durations,
    steps_within,
    workflow_revision,
    workflow_revisions,
)

RUNS_READ = Resource(GROUP, VERSION, "workflowruns")
WORKFLOWS_READ = Resource(GROUP, VERSION, "workflows")
LINES = 500
SCOPES_MOST = 500
"""Scopes of one step that are told at once."""

MOST = 2**53
"""As far as JSON counts."""

POOLS_READ = Resource(GROUP, VERSION, "pools")


class ReadApi:
    """Answers what comes through the API server. ``namespaces``: those that are served, all when empty."""

    def __init__(self, cluster: Cluster, store: Store, compiler: Compiler, namespaces: Sequence[str]) -> None:
        self.front_proxy = FrontProxy()
        self._cluster = cluster
        self._store = store
        self._compiler = compiler
        self._namespaces = frozenset(namespaces)
        self._access = Access(cluster)

    def routes(self) -> list[web.RouteDef]:
        """What is answered, and where."""
        base = f"/apis/{API_VERSION}"
        run = base + "/namespaces/{namespace}/workflowruns/{name}"
        revisions = base + "/namespaces/{namespace}/workflows/{name}/revisions"
        return [
            *(web.get(path, self._document(document)) for path, document in DOCUMENTS.items()),
            web.get(f"{base}/pools", self._pools),
            web.get(f"{run}/steps", self._steps),
            web.get(f"{run}/log", self._log),
            web.get(base + "/namespaces/{namespace}/workflows/{name}/durations", self._durations),
            web.get(revisions, self._revisions),
            web.get(revisions + "/{revision}", self._revision),
        ]

    def _document(self, document: Any) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            self._caller(request)
            return _json(document)

        return answer

    async def _pools(self, request: web.Request) -> web.Response:
        await self._access.require(self._caller(request), Right("list", POOLS_READ))
        store = self._store
        return _json(
            pool_loads(await store.pools.members(), await store.pools.backlog(), await store.pools.announced())
        )

    async def _steps(self, request: web.Request) -> web.Response:
        run = await self._run(request, "steps")
        plan = await self._compiler.plan(run.revision, self._store)
        if path := request.query.get("scope", ""):
            return await self._within(request, run, plan, path)
        after = _number(request, "continue", 0, plan.total)
        count = _number(request, "limit", PAGE_STEPS, PAGE_STEPS) or PAGE_STEPS
        nodes = range(after + 1, min(after + 1 + count, plan.total + 1))
        steps = await self._store.shown.steps(run.run_id, nodes, OUTPUT_BYTES)
        attempts = await self._store.shown.attempts(run.run_id, nodes, ATTEMPTS)
        inside = await self._store.scopes.look(run.run_id, plan)
        children = await self._store.children.show(run.run_id) if run.children else []
        estimate = None if after else await self._store.durations.estimate(run, plan, datetime.now(UTC))
        return _json(run_steps(run, plan, Page(nodes, steps, attempts, inside, children, estimate)))

    async def _within(self, request: web.Request, run: RunRecord, plan: Plan, path: str) -> web.Response:
        limit = _number(request, "limit", SCOPES, SCOPES_MOST) or SCOPES
        within = Within(path, _number(request, "continue", 0, ITEMS), limit)
        try:
            spot = await self._store.scopes.spot(run.run_id, plan, within)
        except NotThere as error:
            raise Answer(404, str(error)) from error
        own: list[ShownStep] = []
        if spot.scope == ROOT_SCOPE and spot.node is not None:
            own = await self._store.shown.steps(run.run_id, range(spot.node, spot.node + 1), OUTPUT_BYTES)
        return _json(steps_within(run, plan, spot, own))

    async def _log(self, request: web.Request) -> web.Response:
        run = await self._run(request, "log")
        plan = await self._compiler.plan(run.revision, self._store)
        name = request.query.get("step", "")
        step = _node(plan, name) if name else None
        attempt = _number(request, "attempt", 0, MOST) or None
        after = _number(request, "after", 0, MOST)
        limit = _number(request, "limit", LINES, LINES) or LINES
        over = run.phase.done or (
            step is not None and await self._is_over(run, step)
        )  # first: lines come before an end
        lines = await self._store.logs.read(run.run_id, step=step, attempt=attempt, after=after, limit=limit)
        return _json(run_log(run, plan, lines, after, finished=over and len(lines) < limit))

    async def _durations(self, request: web.Request) -> web.Response:
        key = WorkflowKey(*await self._workflow(request, "durations"))
        return _json(step_durations(key, (await self._store.durations.of([key]))[key]))

    async def _revisions(self, request: web.Request) -> web.Response:
        namespace, name = await self._workflow(request, "revisions")
        return _json(workflow_revisions(namespace, name, await self._store.versions.history(namespace, name)))

    async def _revision(self, request: web.Request) -> web.Response:
        namespace, name = await self._workflow(request, "revisions")
        found = await self._store.versions.revision(namespace, name, request.match_info["revision"])
        if found is None:
            raise Answer(404, f"Workflow {name} has had no revision {request.match_info['revision'][:40]!r}")
        return _json(workflow_revision(found))

    async def _workflow(self, request: web.Request, subresource: str) -> tuple[str, str]:
        """The Workflow, there or not any more, that a request asks about, if the caller may read that of it."""
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        right = Right("get", WORKFLOWS_READ, namespace, subresource, name)
        await self._access.require(self._caller(request), right)
        self._served(namespace)
        return namespace, name

    def _served(self, namespace: str) -> None:
        if self._namespaces and namespace not in self._namespaces:
            raise Answer(404, f"namespace {namespace} is not served by this installation of Leat")

    async def _is_over(self, run: RunRecord, step: int) -> bool:
        found = await self._store.shown.steps(run.run_id, range(step, step + 1), 0)
        return any(shown.record.state.done for shown in found)

    async def _run(self, request: web.Request, subresource: str) -> RunRecord:
        """The run that a request asks about, if the caller may read that of it."""
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        right = Right("get", RUNS_READ, namespace, subresource, name)
        await self._access.require(self._caller(request), right)
        self._served(namespace)
        body = await self._cluster.get(RUNS, namespace, name)
        if body is None:  # it was deleted; the store may still know its run
            run = await self._store.find_run(namespace, name)
        else:
            run = await self._store.run(run_id(body["metadata"]))
        if run is None:
            there = "has not begun, or can never begin: see its status" if body else "is not there, and was not kept"
            raise Answer(404, f"WorkflowRun {name} {there}")
        return run

    def _caller(self, request: web.Request) -> Caller:
        certificate = request.transport.get_extra_info("peercert") if request.transport else None
        caller = self.front_proxy.caller(certificate, request.headers)
        if caller is None:
            raise Answer(401, "expected the API server, with its front proxy certificate: ask through it")
        return caller


def _node(plan: Plan, name: str) -> int:
    node = plan.by_name.get(name)
    if node is None:
        raise Answer(404, unknown("step", name, plan.by_name))
    opened = plan.steps[node].opens
    if isinstance(opened, Fan | Loop) and (inner := plan.bodies[opened.body].result) > 0:
        return inner  # the step that is done for each item: it is what says something
    return node


def _number(request: web.Request, name: str, otherwise: int, most: int) -> int:
    """A number in the query, cut at ``most``."""
    text = request.query.get(name, "")
    if not text:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Answer(400, f"{name}: found {text[:40]!r}, expected a whole number from 0")
    return min(int(text), most)


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")
