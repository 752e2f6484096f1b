"""What people see of bodies: bounded, what failed first, at the same cost whatever the size."""

import os
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.cli import leat
from tests.support.console import BLOCK, tried
from tests.support.queue import eventually

from leat_cli.forest import outline
from leat_cli.local import Means, run_here
from leat_cli.order import order_of
from leat_cli.progress import Lines
from leat_cli.recorded import Recorded, edges_of, snapshot_of
from leat_cli.secrets import secrets_of
from leat_cli.terminal import err
from leat_engine.caretakers import Caretakers
from leat_engine.inside import ROWS, SCOPES, NotThere, Within
from leat_engine.job import uuid7
from leat_engine.plan import compile_plan
from leat_engine.queue.local import LocalQueue
from leat_engine.records import NewRun, Revision, Root
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models
from leat_operator.serving.views import Page, run_steps, steps_within
from leat_runner.kinds import KindSettings, KindSetup, load_kinds
from leat_runner.work import Runner, RunnerOptions


@pytest.fixture
async def begin(store):
    """Lets a run begin, on a runner that takes it."""
    queue = LocalQueue()
    runner = Runner(store, queue, load_kinds(KindSetup(KindSettings())), RunnerOptions("shown", slots=50))
    caretakers = Caretakers(store, queue)
    await runner.start()
    caretakers.start()

    async def start(spec, name="x"):
        run_id = uuid7(datetime.now(UTC), os.urandom(10))
        plan = compile_plan(parse_spec(spec), load_models(), run_id.hex)
        await store.save_revision(Revision(run_id.hex, "default", "w", spec))
        roots = tuple(Root(root, "default") for root in plan.roots)
        inputs = plan.inputs.apply({})
        (accepted,) = await store.accept([NewRun(run_id, "default", name, "w", run_id.hex, inputs, roots, plan.total)])
        await queue.publish(accepted.jobs)
        return run_id, plan

    yield start
    await caretakers.stop()
    await runner.stop()


@pytest.fixture
def perform(begin, store):
    async def play(spec, name="x"):
        run_id, plan = await begin(spec, name)

        async def done():
            return (await store.run(run_id)).phase.done

        await eventually(done, True, 60)
        return run_id, plan

    return play


class Counting:
    """Counts what the store is asked about scopes."""

    def __init__(self, store):
        self.statements = 0
        self._scopes, self._real = store.scopes, store.scopes._connection

    def __enter__(self):
        self._scopes._connection = self._open
        return self

    def __exit__(self, *_):
        self._scopes._connection = self._real

    @asynccontextmanager
    async def _open(self):
        async with self._real() as connection:
            self._fetch = connection.fetch
            yield self

    async def fetch(self, *arguments):
        self.statements += 1
        return await self._fetch(*arguments)


MIXED = {
    "inputs": {"n": {"type": "array", "default": list(range(60))}},
    "steps": [
        {
            "name": "each",
            "forEach": "${ inputs.n }",
            "tolerate": "all",
            "steps": [
                {"name": "odd", "when": "${ item % 25 == 7 }", "fail": {"message": "no ${ string(item) }"}},
                {"name": "even", "needs": [{"step": "odd", "on": ["Skipped"]}], "transform": "${ item }"},
            ],
            "output": "${ steps.even.output }",
        },
        {
            "name": "choose",
            "switch": [
                {"when": "${ 1 > 2 }", "steps": [{"name": "no", "transform": 1}]},
                {"default": True, "steps": [{"name": "yes", "repeat": {"max": 3}, "transform": "${ iteration }"}]},
            ],
        },
        {"name": "group", "steps": [{"name": "inner", "transform": 1}]},
    ],
}


def block_of(plan, inside, name, scope=0):
    return inside.blocks[scope, plan.by_name[name]]


async def test_what_failed_is_among_the_scopes_that_are_shown_and_the_others_are_counted(perform, store):
    run_id, plan = await perform(MIXED)
    inside = await store.scopes.look(run_id, plan)
    each = block_of(plan, inside, "each")
    assert each.states == {"Succeeded": 57, "Failed": 3}
    assert len(each.scopes) == SCOPES
    assert [scope.index for scope in each.scopes if scope.state is not None and scope.state.label == "Failed"] == [
        7,
        32,
        57,
    ]
    assert [scope.index for scope in each.scopes] == sorted(scope.index for scope in each.scopes)
    failed = next(scope for scope in each.scopes if scope.index == 32)
    (odd, even) = inside.steps[failed.number]
    assert (odd.record.error["message"], even.record.state.label) == ("no 32", "Skipped")


async def test_a_case_and_the_iterations_in_it_are_found_below_each_other(perform, store):
    run_id, plan = await perform(MIXED)
    inside = await store.scopes.look(run_id, plan)
    (case,) = block_of(plan, inside, "choose").scopes
    times = block_of(plan, inside, "yes", case.number)
    assert (times.states, [scope.index for scope in times.scopes]) == ({"Succeeded": 3}, [0, 1, 2])


async def test_a_look_costs_the_same_whatever_the_size_and_nothing_without_bodies(perform, store):
    costs = {}
    for size in (3, 60, 2_000):
        spec = {**MIXED, "inputs": {"n": {"type": "array", "default": list(range(size))}}}
        run_id, plan = await perform(spec)
        with Counting(store) as counting:
            inside = await store.scopes.look(run_id, plan)
        costs[size] = counting.statements
        assert sum(len(steps) for steps in inside.steps.values()) <= ROWS
    assert costs == dict.fromkeys((3, 60, 2_000), 6)  # two for each of two levels, two for the steps
    run_id, plan = await perform({"steps": [{"name": "a", "transform": 1}]})
    with Counting(store) as counting:
        await store.scopes.look(run_id, plan)
    assert counting.statements == 0


async def test_what_has_not_begun_and_what_is_under_way_is_told_apart(begin, store):
    spec = {"steps": [{"name": "each", "forEach": list(range(50)), "maxParallel": 4, "wait": {"duration": "1h"}}]}
    run_id, plan = await begin(spec)

    async def states():
        inside = await store.scopes.look(run_id, plan)
        return dict(block_of(plan, inside, "each").states) if inside.blocks else {}

    await eventually(states, {"Running": 4, "Pending": 46})


async def test_pages_of_scopes_follow_each_other_until_every_one_was_there(perform, store):
    run_id, plan = await perform(MIXED)
    run, after, found = await store.run(run_id), 0, []
    while after is not None:
        spot = await store.scopes.spot(run_id, plan, Within("each", after, 25))
        own = await store.shown.steps(run_id, range(spot.node, spot.node + 1), 4096)
        answer = steps_within(run, plan, spot, own)
        (step,) = answer["steps"]
        assert (step["name"], step["state"], step["scopes"]["states"]) == (
            "each",
            "Succeeded",
            {"Succeeded": 57, "Failed": 3},
        )
        found += [scope["index"] for scope in step["scopes"]["shown"]]
        after = int(answer["metadata"]["continue"]) if "continue" in answer["metadata"] else None
    assert found == list(range(60))


async def test_one_scope_is_shown_with_all_its_steps(perform, store):
    run_id, plan = await perform(MIXED)
    spot = await store.scopes.spot(run_id, plan, Within("each[32]"))
    steps = steps_within(await store.run(run_id), plan, spot, [])["steps"]
    assert [(step["name"], step["state"], step["needs"]) for step in steps] == [
        ("odd", "Failed", []),
        ("even", "Skipped", ["odd"]),
    ]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nobody", "scope: there is no step 'nobody'"),
        ("each[60]", "scope: found each[60], but step 'each' has opened 60 so far"),
        ("each/odd", "scope: step 'each' has 60 scopes: write which, such as each[0]"),
        ("each[1]/odd", "scope: step 'odd' has no body"),
        ("each[x]", "scope: found 'each[x]', expected the name of a step, or STEP[INDEX], such as each[4]/ask"),
    ],
)
async def test_a_path_that_leads_nowhere_is_answered_with_where_it_ends(perform, store, path, said):
    run_id, plan = await perform(MIXED)
    with pytest.raises(NotThere) as caught:
        await store.scopes.spot(run_id, plan, Within(path))
    assert str(caught.value).startswith(said)


async def test_both_ways_of_telling_it_tell_the_same(perform, store):
    run_id, plan = await perform(MIXED)
    run, nodes = await store.run(run_id), range(1, plan.total + 1)
    steps, inside = await store.shown.steps(run_id, nodes, 4096), await store.scopes.look(run_id, plan)
    served = run_steps(run, plan, Page(nodes, steps, [], inside))["steps"]
    read = snapshot_of(run, MIXED, Recorded(steps, [], edges_of(plan), plan, inside)).steps
    for one, other in zip(served, read, strict=True):
        shown = [(scope["index"], scope["label"], scope["state"]) for scope in one["scopes"]["shown"]]
        assert shown == [(scope.index, scope.label, scope.state) for scope in other.scopes.shown]
        assert one["scopes"]["states"] == other.scopes.states
        within = [[(step["name"], step["state"]) for step in scope["steps"]] for scope in one["scopes"]["shown"]]
        assert within == [[(step.name, step.state) for step in scope.steps] for scope in other.scopes.shown]


SAGA = {
    "steps": [
        {"name": "flight", "transform": 1, "compensate": {"transform": "given back"}},
        {"name": "cars", "needs": ["flight"], "forEach": [1, 2], "transform": 1, "compensate": {"transform": "back"}},
        {"name": "hotel", "needs": ["cars"], "fail": {"message": "no room"}},
    ],
    "finally": [{"name": "tell", "transform": "${ run.phase }"}],
}


async def test_what_a_run_does_at_its_end_is_shown_behind_its_steps(perform, store):
    run_id, plan = await perform(SAGA)
    run, nodes = await store.run(run_id), range(1, plan.total + 1)
    steps, inside = await store.shown.steps(run_id, nodes, 4096), await store.scopes.look(run_id, plan)
    served = run_steps(run, plan, Page(nodes, steps, [], inside))["steps"]
    names = ["flight", "cars", "hotel", "flight.compensate", "at the end"]
    assert [step["name"] for step in served] == names
    item = served[1]["scopes"]["shown"][1]["steps"]
    assert [(step["name"], step["output"]) for step in item] == [("cars", 1), ("cars.compensate", "back")]
    (tell,) = served[-1]["scopes"]["shown"][0]["steps"]
    assert (served[-1]["state"], tell["name"], tell["output"]) == ("Succeeded", "tell", "Failed")
    read = snapshot_of(run, SAGA, Recorded(steps, [], edges_of(plan), plan, inside)).steps
    assert [(step.name, step.state) for step in read] == [(step["name"], step["state"]) for step in served]
    assert [place.guide + place.step.name for place in outline(read)] == [
        "├─ flight",
        "│  └─ cars",
        "│     ┆ item 0",
        "│     ┆ ┆ ├─ cars",
        "│     ┆ ┆ └─ cars.compensate",
        "│     ┆ item 1",
        "│     ┆ ┆ ├─ cars",
        "│     ┆ ┆ └─ cars.compensate",
        "│     └─ hotel",
        "├─ flight.compensate",
        "└─ at the end",
        "   ┆ └─ tell",
    ]
    whole = snapshot_of(run, SAGA, Recorded(steps, [], edges_of(plan), plan, inside))
    assert list(whole.result()["steps"]) == ["flight", "cars", "hotel"]


async def test_the_tree_shows_bodies_and_pages_of_them(perform, database):
    await perform(MIXED, "mixed")
    lines = leat("tree", "mixed", "--database", database).out.splitlines()
    names = [re.sub(r"\s+[✓✗-] .*", "", line) for line in lines[2:]]
    assert names[:5] == ["├─ each", "│  ┆ item 0", "│  ┆ ┆ └─ odd", "│  ┆ ┆    └─ even", "│  ┆ item 1"]
    assert "│  ┆ … and 40 more: 40 Succeeded" in [line.rstrip() for line in lines]
    assert [name for name in names if "choose" in name or "case" in name or "iteration" in name or "yes" in name] == [
        "├─ choose",
        "│  ┆ case 2",
        "│  ┆ ┆ └─ yes",
        "│  ┆ ┆    ┆ iteration 0",
        "│  ┆ ┆    ┆ iteration 1",
        "│  ┆ ┆    ┆ iteration 2",
    ]
    page = leat(
        "tree", "mixed", "--scope", "each", "--after", "50", "--limit", "5", "-o", "json", "--database", database
    )
    assert [scope["index"] for scope in page.json["steps"][0]["scopes"]["shown"]] == [50, 51, 52, 53, 54]
    assert page.json["after"] == 55
    one = leat("tree", "mixed", "--scope", "each[57]", "--database", database)
    assert "Fail: no 57" in one.out
    wrong = leat("tree", "mixed", "--scope", "each[60]", "--database", database)
    assert (wrong.code, wrong.err) == (2, "scope: found each[60], but step 'each' has opened 60 so far\n")
    described = leat("describe", "mixed", "--database", database).out
    assert "\neach[57]/odd (fail)\n  error: " in described


def test_the_page_shows_what_the_command_answers(database, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "bodies.md").read_text()
    for block in BLOCK.finditer(page):
        if block["file"]:
            (tmp_path / block["file"]).write_text(block["text"])
    order = order_of(str(tmp_path / "bill.yaml"), (), None)
    run_here(order, Means((), secrets_of(None)), database, Lines(err()))
    assert tried(page, tmp_path, {"LEAT_DATABASE_URL": database, "KUBECONFIG": "/nonexistent"}) == 4
