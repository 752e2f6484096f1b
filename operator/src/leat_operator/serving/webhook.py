"""`POST /validate`: the API server asks about a resource before it keeps it.

It answers with all reasons at once, so that `kubectl apply --dry-run=server` says what `leat lint` says. It writes
nothing, so a dry run is a run like others. Without it the same reasons come later, in `.status`.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import structlog
from aiohttp import web
from cachetools import TTLCache

from leat_engine.errors import LeatError
from leat_operator.cluster import Cluster
from leat_operator.objects import WORKFLOWS
from leat_operator.serving.answers import Answer
from leat_operator.serving.compiler import Compiler
from leat_operator.serving.verdict import (
    FINE,
    Verdict,
    judge_pool,
    judge_run,
    judge_workflow,
    response,
    subject,
    workflow_of,
)

log = structlog.get_logger(__name__)

_REMEMBERED, _SECONDS = 1024, 2.0

Body = Mapping[str, Any]


class Webhook:
    """Judges resources. ``namespaces``: those that are served, all when empty; ``installation``: where pools are."""

    def __init__(self, cluster: Cluster, compiler: Compiler, namespaces: Sequence[str], installation: str) -> None:
        self._cluster = cluster
        self._compiler = compiler
        self._installation = installation
        self._namespaces = frozenset(namespaces)
        self._workflows: TTLCache[tuple[str, str], Body] = TTLCache(_REMEMBERED, _SECONDS, time.monotonic)

    async def validate(self, request: web.Request) -> web.Response:
        """Answer an AdmissionReview."""
        asked = _request(await request.read())
        body = subject(asked)
        verdict = FINE if body is None else await self._judge(asked, body)
        return web.Response(body=orjson.dumps(response(asked, verdict)), content_type="application/json")

    async def _judge(self, asked: Mapping[str, Any], body: Body) -> Verdict:
        kind = asked["kind"]["kind"]
        served = not self._namespaces or asked.get("namespace") in self._namespaces
        try:
            match kind:
                case "RunnerPool":
                    return judge_pool(body, self._installation)
                case _ if not served:
                    return FINE
                case "Workflow":
                    return await self._compiler.call(lambda catalog: judge_workflow(body, catalog))
                case "WorkflowRun":
                    return await self._judge_run(str(asked.get("namespace", "")), body)
                case _:
                    return FINE
        except Exception as error:  # a defect that one resource meets must not keep it out: accept has the last word
            log.exception(
                "resource not judged", resource=kind, namespace=asked.get("namespace"), name=asked.get("name")
            )
            return Verdict(warnings=(f"this {kind} was not checked: {type(error).__name__}; see the operator's log",))

    async def _judge_run(self, namespace: str, body: Body) -> Verdict:
        name = workflow_of(body)
        if name is None:
            return await self._compiler.call(lambda catalog: judge_run(body, None, catalog))
        known = self._workflows.get((namespace, name))
        if known is not None:
            verdict = await self._compiler.call(lambda catalog: judge_run(body, known, catalog))
            if not verdict.reasons:
                return verdict
        # Nobody is refused for a Workflow that is a moment old.
        try:
            found = await self._cluster.get(WORKFLOWS, namespace, name)
        except LeatError as error:
            return Verdict(warnings=(f"the inputs were not checked against Workflow {name}: {error}",))
        if found is not None:
            self._workflows[namespace, name] = found
        return await self._compiler.call(lambda catalog: judge_run(body, found, catalog))


def _request(content: bytes) -> dict[str, Any]:
    """The request in an AdmissionReview."""
    try:
        request = orjson.loads(content)["request"]
        request["uid"], request["kind"]["kind"], request["kind"]["group"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise Answer(400, f"expected an AdmissionReview of admission.k8s.io/v1: {error!r}") from error
    found: dict[str, Any] = request
    return found
