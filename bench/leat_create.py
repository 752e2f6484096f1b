"""Puts a load on Leat as its users do: creates WorkflowRuns on the API server and watches them succeed.

What `kubectl create` and `kubectl wait` do, without a process for each.
"""

import asyncio
import json
import ssl
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from prometheus_client.parser import text_string_to_metric_families

from bench.leat_drive import workflow
from bench.load import Load, Sample, schedule
from leat_stack import Endpoints

GROUP = "/apis/leat.dev/v1alpha1/namespaces/default"
API_VERSION = "leat.dev/v1alpha1"
WRITES = "leat_operator_api_writes_total"
READY_DEADLINE = DRAIN_DEADLINE = 60.0


class Client:
    """A user of the API server; make it by `connected`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._open: dict[str, float] = {}
        self._idle = asyncio.Event()
        self.done: list[Sample] = []

    async def apply_workflow(self) -> None:
        """Create the Workflow and wait until it is Ready."""
        body = {"apiVersion": API_VERSION, "kind": "Workflow", "metadata": {"name": "bench"}, "spec": workflow()}
        await self._post("workflows", body)
        async with asyncio.timeout(READY_DEADLINE):
            async for changed in self._watch("workflows"):
                if _true(changed, "Ready"):
                    return

    async def pace(self, load: Load) -> list[Sample]:
        """Create runs one by one, each at its moment, and wait until all of them have succeeded."""
        watch = asyncio.create_task(self._note_ends())
        begins = time.time()

        async def create_at(number: int, moment: float) -> None:
            await asyncio.sleep(max(moment - time.time(), 0.0))
            await self._create(f"bench-{number}")

        try:
            offsets = enumerate(schedule(load.rate, load.paced))
            await asyncio.gather(*(create_at(number, begins + offset) for number, offset in offsets))
            async with asyncio.timeout(DRAIN_DEADLINE):
                await self._idle.wait()
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
        return [sample for sample in self.done if sample.started >= begins + load.warm_up]

    async def _create(self, name: str) -> None:
        run = {
            "apiVersion": API_VERSION,
            "kind": "WorkflowRun",
            "metadata": {"name": name},
            "spec": {"workflow": {"name": "bench"}},
        }
        self._idle.clear()
        self._open[name] = time.time()
        await self._post("workflowruns", run)

    async def _note_ends(self) -> None:
        async for changed in self._watch("workflowruns"):
            name = changed["metadata"]["name"]
            if name in self._open and _true(changed, "Succeeded"):
                self.done.append(Sample(self._open.pop(name), time.time()))
            if not self._open:
                self._idle.set()

    async def _post(self, plural: str, body: Mapping[str, Any]) -> None:
        async with self._session.post(f"{GROUP}/{plural}", json=body) as answer:
            if not answer.ok:
                raise RuntimeError(f"the API server refuses {body['metadata']['name']}: {await answer.text()}")

    async def _watch(self, plural: str) -> AsyncIterator[Mapping[str, Any]]:
        """Every state of the resources from now on, those that are there first, and again after a cut."""
        while True:
            async with self._session.get(f"{GROUP}/{plural}", params={"watch": "true"}) as answer:
                answer.raise_for_status()
                async for line in answer.content:
                    yield json.loads(line)["object"]


@asynccontextmanager
async def connected(endpoints: Endpoints) -> AsyncIterator[Client]:
    """A client with the rights of the stack's administrator."""
    async with session(endpoints.kubeconfig) as opened:
        yield Client(opened)


def session(kubeconfig: str) -> aiohttp.ClientSession:
    """A session with the API server, as the user of the kubeconfig."""
    found = yaml.safe_load(Path(kubeconfig).read_text())
    cluster, user = found["clusters"][0]["cluster"], found["users"][0]["user"]
    trusted = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
    return aiohttp.ClientSession(
        cluster["server"],
        connector=aiohttp.TCPConnector(limit=0, ssl=trusted),
        headers={"Authorization": f"Bearer {user['token']}"},
        timeout=aiohttp.ClientTimeout(total=None),
    )


async def writes(metrics_port: int) -> float:
    """Requests by which the operator has written to WorkflowRuns, by its own count."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{metrics_port}/metrics") as answer:
        text = await answer.text()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == WRITES and sample.labels["resource"].startswith("workflowruns")
    )


def _true(body: Mapping[str, Any], condition: str) -> bool:
    conditions = body.get("status", {}).get("conditions", [])
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)
