"""Runs are migrated to and fro while they run, on runners that are killed: each ends as its last revision says."""

import asyncio
import random
from collections import Counter

import pytest
from tests.support.fleet import a_fleet, ready
from tests.support.load import Load, a_run, insist, plan_of, revision_of
from tests.support.queue import eventually, until

from leat_engine.errors import Rejected, StoreUnavailable
from leat_engine.migrate import migrate
from leat_engine.store.versions import Claimed

POINTS = [f"{when} {what}" for what in ("claim", "commit", "open") for when in ("before", "after")]
WAVE = 6


def add(name, *needs, values=(), function="add", **more):
    fields = {"name": function, "with": {"values": list(values)}}
    if function == "add":
        fields["with"]["seconds"] = 0.03
    return {"name": name, "needs": list(needs), "function": fields, **more}


def workflow(mark, *, before=(), behind=(), last=("four", "fan")):
    """A chain with a step that is tried twice, a body beside it, and a join; marked by what differs."""
    steps = [
        *before,
        add("one"),
        add("two", "one", values=["${ steps.one.output }"]),
        add("fan", "two", values=["${ item }", "${ steps.two.output }"], forEach=[1, 2, 3], maxParallel=2),
        add(
            "three", "two", values=["${ steps.two.output }"], function="stumble",
            retry={"max": 2, "backoff": {"initial": "20ms", "max": "50ms"}},
        ),
        add("four", "three", values=["${ steps.three.output }"]),
        *behind,
        add("last", *last, values=["${ steps.four.output }"]),
    ]  # fmt: skip
    output = {"mark": mark, "fan": "${ steps.fan.output }", "last": "${ steps.last.output }"}
    for step in (*before, *behind):
        output[step["name"]] = f"${{ steps.{step['name']}.output }}"
    return {"steps": steps, "output": output}


SPECS = {
    "A": workflow("A"),
    "B": workflow("B", behind=[add("five", "four")], last=("four", "fan", "five")),
    "C": workflow("C", before=[add("zero")], behind=[add("five", "four")], last=("four", "fan", "five", "zero")),
}
PLANS = {name: plan_of(spec) for name, spec in SPECS.items()}
NAMES = {plan.revision: name for name, plan in PLANS.items()}
NEW = {"A": {}, "B": {"five": 1}, "C": {"zero": 1, "five": 1}}


@pytest.fixture(scope="module")
def fleet(database, amqp_url, tmp_path_factory):
    with a_fleet(database, amqp_url, tmp_path_factory.mktemp("fleet")) as fleet:
        ready(fleet.start(slots=4))
        yield fleet


class Mover:
    """Migrates one run again and again, to whatever is drawn, until it is over; counts what came of it."""

    def __init__(self, load, run_id, draw):
        self.load, self.run_id, self._draw = load, run_id, draw
        self.came = Counter()

    async def move(self):
        while True:
            await asyncio.sleep(self._draw.random() * 0.15)
            run = await insist(self.load.store.run, self.run_id)
            if run.phase.done:
                return
            old = NAMES[run.revision]
            new = self._draw.choice([name for name in PLANS if name != old])
            try:
                _, jobs = await migrate(self.load.store, self.run_id, (PLANS[old], PLANS[new]), 20)
            except (Rejected, Claimed, StoreUnavailable) as error:
                self.came[type(error).__name__] += 1
            else:
                self.came["migrated"] += 1
                await self.load.publish(jobs)


async def wave(load, draw):
    runs = [a_run(SPECS["A"]) for _ in range(WAVE)]
    accepted = await load.store.accept(runs)
    await load.publish([job for one in accepted for job in one.jobs])
    movers = [Mover(load, run.run_id, draw) for run in runs]
    tasks = [asyncio.create_task(mover.move()) for mover in movers]
    return movers, tasks


@pytest.mark.parametrize("point", ["none", *POINTS])
async def test_each_run_ends_as_its_last_revision_says(point, fleet, database, amqp_url):
    draw = random.Random(point)
    doomed = fleet.start(slots=4, **({} if point == "none" else {"crash_at": f"{point}:4"}))
    ready(doomed)
    async with Load.connected(database, amqp_url, fleet.effects) as load:
        for spec in SPECS.values():
            await load.store.save_revision(revision_of(spec))
        movers, tasks = [], []
        for _ in range(3):
            some = await wave(load, draw)
            movers += some[0]
            tasks += some[1]
        await asyncio.wait_for(asyncio.gather(*tasks), 90)
        if point != "none":
            await until(lambda: not doomed.alive, 10)
        lines = fleet.effects.read_text().splitlines()
        for mover in movers:
            run = await load.store.run(mover.run_id)
            name = NAMES[run.revision]
            assert run.phase.label == "Succeeded", (name, run.error)
            assert run.output == {"mark": name, "fan": [4, 5, 6], "last": 5, **NEW[name]}
            assert run.live == 0
            assert run.succeeded == run.total == len(SPECS[name]["steps"]) + 3
            mine = Counter(line for line in lines if line.startswith(str(mover.run_id)))
            assert max(mine.values()) == 1, "an attempt is executed once"
        await eventually(lambda: _left(load, movers), {}, 5)
    came = sum((mover.came for mover in movers), Counter())
    assert came["migrated"] > WAVE, came
    if point == "none":
        assert came["Rejected"]
        doomed.kill()


async def _left(load, movers):
    """Rows of runs that are over where none may be."""
    ids = [mover.run_id for mover in movers]
    found = {}
    for table in ("ready", "timer", "hold"):
        (row,) = await load._ask(f"select count(*) as n from leat.{table} where run_id = any($1)", ids)  # noqa: S608
        if row["n"]:
            found[table] = row["n"]
    return found
