"""Runs given to a whole Leat by their resources, and the account that is made of them afterwards."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.support.fleet import Fleet
from tests.support.operator import Shop, eventually

from leat_engine.result import State
from leat_engine.store import Store

STEPS = ("first", "second")
ENDS = {"Succeeded", "Failed", "Cancelled"}


@dataclass
class Account:
    """What became of the runs.

    Attributes:
        open: Resources that did not reach their end, with their phase.
        lost: Runs that the store does not know, or that it holds for unfinished.
        doubled: Runs that are there twice, steps that took a second attempt or left a second effect.
        wrong: Resources whose status is not what the store says.
    """

    open: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.open or self.lost or self.doubled or self.wrong)


@dataclass
class Orders:
    """Runs of two steps, each of which leaves an effect."""

    user: Shop
    fleet: Fleet
    dsn: str
    names: list[str] = field(default_factory=list)

    def offer(self, workflow: str = "order", seconds: float = 0.0) -> None:
        """Create the Workflow. Its first step takes so many seconds."""
        first = {"name": STEPS[0], "function": {"name": "add", "with": {"values": [1], "seconds": seconds}}}
        last = {"name": STEPS[1], "function": {"name": "add", "with": {"values": ["${ steps.first.output }"]}}}
        self.user.workflow(workflow, first, last, output="${ steps.second.output }")

    def place(self, names: Iterable[str], workflow: str = "order") -> None:
        """Create a WorkflowRun of each name."""
        for name in names:
            self.user.run(name, workflow)
            self.names.append(name)

    def settle(self, seconds: float = 30) -> Account:
        """Wait until every resource shows an end, then make the account."""
        try:
            eventually(lambda: not self._open(), "every resource shows its end", seconds)
        except AssertionError:
            return Account(open=self._open())
        return asyncio.run(self._account())

    def _open(self) -> list[str]:
        phases = {
            body["metadata"]["name"]: body.get("status", {}).get("phase", "no status") for body in self.user.runs()
        }
        found = ((name, phases.get(name, "no resource")) for name in self.names)
        return [f"{name}: {phase}" for name, phase in found if phase not in ENDS]

    async def _account(self) -> Account:
        account = Account()
        store = await Store.connect(self.dsn, size=1)
        try:
            runs = await store.shown.runs(self.user.namespace, 10_000)
            count = Counter(run.name for run in runs)
            account.lost += [name for name in self.names if not count[name]]
            account.lost += [f"{run.name}: {run.phase.label}" for run in runs if not run.phase.done]
            account.doubled += [f"run {name}: {number} times" for name, number in count.items() if number > 1]
            effects = Counter(self.fleet.effects.read_text().splitlines())
            statuses = {body["metadata"]["name"]: body["status"] for body in self.user.runs()}
            for run in runs:
                for step in await store.steps(run.run_id):
                    if step.key.step and (step.attempt, step.state) != (1, State.SUCCEEDED):
                        account.doubled.append(f"{run.name} step {step.key.step}: {step.state} at {step.attempt}")
                for step_name in STEPS:
                    number = effects.pop(f"{run.run_id} {step_name} 0 1", 0)  # run, step, scope, attempt
                    if number != 1:
                        account.doubled.append(f"{run.name} {step_name}: {number} effects of attempt 1")
                shown = statuses[run.name]
                told = (shown["phase"], shown["progress"], shown.get("output"), shown["runId"])
                if told != ("Succeeded", "2/2", 3, str(run.run_id)):
                    account.wrong.append(f"{run.name}: {told}")
            own = {str(run.run_id) for run in runs}
            account.doubled += [line for line in effects if line.split()[0] in own]
        finally:
            await store.close()
        return account
