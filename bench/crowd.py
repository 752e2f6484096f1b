"""Many WorkflowRuns on an API server: creates them, and knows by a watch what each of them shows."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from bench.leat_create import API_VERSION, GROUP, session
from bench.load import Sample, schedule
from leat_stack import Endpoints

IN_FLIGHT = 32


@dataclass(frozen=True, slots=True)
class Shown:
    """What a resource's status says, and when that was seen."""

    phase: str
    progress: str
    at: float


@dataclass
class Crowd:
    """The user; make it by `connected`."""

    session: aiohttp.ClientSession
    shown: dict[str, Shown] = field(default_factory=dict)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def apply(self, kind: str, name: str, spec: Mapping[str, Any]) -> None:
        """Create a resource."""
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
        async with self.session.post(f"{GROUP}/{kind.lower()}s", json=body) as answer:
            if not answer.ok:
                raise RuntimeError(f"the API server refuses {name}: {await answer.text()}")

    async def run(self, name: str, workflow: str, **inputs: Any) -> None:
        """Create a run."""
        await self.apply("WorkflowRun", name, {"workflow": {"name": workflow}, "inputs": inputs})

    async def many(self, prefix: str, count: int, workflow: str, **inputs: Any) -> list[str]:
        """Create many as fast as the API server takes them; their names."""
        names = [f"{prefix}-{number}" for number in range(count)]
        slots = asyncio.Semaphore(IN_FLIGHT)

        async def create(name: str) -> None:
            async with slots:
                await self.run(name, workflow, **inputs)

        await asyncio.gather(*map(create, names))
        return names

    async def pace(self, prefix: str, workflow: str, rate: float, seconds: float) -> list[Sample]:
        """Create runs one by one, by the clock, and wait until all have succeeded."""
        begins, started = time.time(), {}

        async def create_at(name: str, moment: float) -> None:
            await asyncio.sleep(max(moment - time.time(), 0.0))
            started[name] = time.time()
            await self.run(name, workflow)

        offsets = enumerate(schedule(rate, seconds))
        await asyncio.gather(*(create_at(f"{prefix}-{number}", begins + offset) for number, offset in offsets))
        await self.until(list(started), lambda shown: shown.phase == "Succeeded", 120)
        return [Sample(moment, self.shown[name].at) for name, moment in started.items()]

    async def until(self, names: list[str], is_so: Callable[[Shown], bool], seconds: float) -> float:
        """Wait until it is so of all of them; the moment at which the last one showed it.

        Raises:
            TimeoutError: it was not so in time.
        """
        left = set(names)
        async with asyncio.timeout(seconds):
            while left := {name for name in left if name not in self.shown or not is_so(self.shown[name])}:
                self._moved.clear()
                await self._moved.wait()
                await asyncio.sleep(0.02)  # many move at once, and each look costs
        return max(self.shown[name].at for name in names)

    async def watch(self) -> None:
        """Note what every resource shows, from now on."""
        version = ""
        while True:
            query = {"watch": "true", "resourceVersion": version} if version else {"watch": "true"}
            async with self.session.get(f"{GROUP}/workflowruns", params=query) as answer:
                if answer.status == HTTPStatus.TOO_MANY_REQUESTS:  # resources that were just defined are not stored yet
                    await asyncio.sleep(0.5)
                    continue
                answer.raise_for_status()
                async for line in answer.content:
                    change = json.loads(line)
                    if change["type"] == "ERROR":
                        version = ""
                        break
                    body = change["object"]
                    version, status = body["metadata"]["resourceVersion"], body.get("status", {})
                    shown = Shown(status.get("phase", ""), status.get("progress", ""), time.time())
                    self.shown[body["metadata"]["name"]] = shown
                    self._moved.set()

    async def requests(self) -> dict[str, float]:
        """Requests for our resources that the API server has counted, by verb."""
        async with self.session.get("/metrics") as answer:
            text = await answer.text()
        found: dict[str, float] = {}
        lines = "\n".join(line for line in text.splitlines() if "apiserver_request_total" in line)
        for family in text_string_to_metric_families(lines + "\n"):
            for sample in family.samples:
                if sample.labels.get("group") == "leat.dev":
                    verb = sample.labels["verb"]
                    found[verb] = found.get(verb, 0.0) + sample.value
        return found


@asynccontextmanager
async def connected(endpoints: Endpoints) -> AsyncIterator[Crowd]:
    """A user with the rights of the stack's administrator, who watches."""
    async with session(endpoints.kubeconfig) as opened:
        crowd = Crowd(opened)
        async with asyncio.TaskGroup() as group:  # a watch that fails ends what waits for it
            watching = group.create_task(crowd.watch())
            yield crowd
            watching.cancel()
