"""One run by way of everything: the API server, an operator, the queue, a runner and back."""

import asyncio
from contextlib import suppress
from typing import Any

import structlog

from leat_engine.errors import LeatError
from leat_operator.cluster import Cluster, Conflict, NotFound
from leat_operator.objects import RUNS, WORKFLOWS, Ref

PATIENCE = 90.0
"""Seconds. A pool at zero has to start a pod first."""

log = structlog.get_logger(__name__)


class TrialFailed(LeatError):
    """The run did not succeed. The message says how far it came."""


async def run(namespace: str, name: str) -> None:
    """Create a Workflow and a WorkflowRun of this name, wait until it succeeded, and delete both.

    Raises:
        TrialFailed: It did not, or not in time.
        Refused: The API server does not take them.
    """
    async with Cluster(connections=1) as cluster:
        await _clear(cluster, namespace, name)
        await cluster.create(WORKFLOWS, namespace, _workflow(name))
        try:
            await cluster.create(RUNS, namespace, _run(name))
            await _succeeded(cluster, namespace, name)
        finally:
            await _clear(cluster, namespace, name)


async def _succeeded(cluster: Cluster, namespace: str, name: str) -> None:
    status: dict[str, Any] = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while status.get("phase") not in {"Succeeded", "Failed", "Cancelled"}:
                await asyncio.sleep(0.2)
                status = ((await cluster.get(RUNS, namespace, name)) or {}).get("status") or {}
    if status.get("phase") != "Succeeded":
        phase = status.get("phase", "without a status: no operator has seen it")
        raise TrialFailed(f"workflowrun/{name} is {phase}: {status.get('message') or 'no message'}")
    log.info("the installation works", run=status.get("runId"), output=status.get("output"))


async def _clear(cluster: Cluster, namespace: str, name: str) -> None:
    for resource in (RUNS, WORKFLOWS):
        if found := await cluster.get(resource, namespace, name):
            with suppress(NotFound, Conflict):  # gone, or another one has its name
                await cluster.delete(Ref.of(resource, found))


def _workflow(name: str) -> dict[str, Any]:
    steps = [
        {"name": "ask", "script": {"shell": "bash", "run": 'echo "a runner answers" > "$LEAT_OUTPUT"'}},
        {"name": "tell", "transform": "${ steps.ask.output }"},
    ]
    spec = {"description": "Made by a test of the installation", "steps": steps, "output": "${ steps.tell.output }"}
    return {"apiVersion": "leat.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": name}, "spec": spec}


def _run(name: str) -> dict[str, Any]:
    spec = {"workflow": {"name": name}}
    return {"apiVersion": "leat.dev/v1alpha1", "kind": "WorkflowRun", "metadata": {"name": name}, "spec": spec}
