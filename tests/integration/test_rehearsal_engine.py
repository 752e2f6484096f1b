"""A run that is played in memory goes the way that a real one goes: the same graphs, by a runner on Postgres."""

import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support import functions
from tests.support.family import shelve
from tests.support.graphs import ADD, IN_LATE, a_graph
from tests.support.queue import eventually
from tests.support.rehearsal import rehearsed

from leat_engine.caretakers import CaretakerOptions, Caretakers
from leat_engine.job import uuid7
from leat_engine.plan import END, compile_plan
from leat_engine.queue.local import LocalQueue
from leat_engine.records import NewRun, Revision, Root
from leat_engine.result import Phase, State
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models
from leat_engine.store import Store, migrate
from leat_runner.kinds import KindSettings, KindSetup, load_kinds
from leat_runner.work import Runner, RunnerOptions


@pytest.fixture
async def real(postgres_dsn, tmp_path, monkeypatch):
    """Runs specs to their ends, all at once; gives the run and its steps of each."""
    monkeypatch.setenv("LEAT_TEST_EFFECTS", str(tmp_path / "effects"))
    await migrate(postgres_dsn)
    store = await Store.connect(postgres_dsn, size=6)
    queue = LocalQueue()
    settings = KindSettings(functions=(str(Path(functions.__file__)),))
    runner = Runner(store, queue, load_kinds(KindSetup(settings)), RunnerOptions("rehearsal", slots=100))
    caretakers = Caretakers(store, queue, CaretakerOptions(interval=0.1))
    await runner.start()
    caretakers.start()

    async def begin(spec):
        run_id = uuid7(datetime.now(UTC), os.urandom(10))
        plan = compile_plan(parse_spec(spec), load_models(), run_id.hex)
        await store.save_revision(Revision(run_id.hex, "default", "w", spec))
        roots = tuple(Root(root, "default") for root in plan.roots)
        new = NewRun(run_id, "default", "x", "w", run_id.hex, {}, roots, plan.total)
        (accepted,) = await store.accept([new])
        await queue.publish(accepted.jobs)
        return run_id

    async def play(specs, callees=()):
        for name, spec in callees:
            await shelve(store, name, spec, "default")
        ids = [await begin(spec) for spec in specs]

        async def open_runs():
            return sum([not (await store.run(run_id)).phase.done for run_id in ids])

        await eventually(open_runs, 0, 90)
        return [(await store.run(run_id), await store.steps(run_id)) for run_id in ids]

    yield play
    await caretakers.stop()
    await runner.stop()
    await store.close()


FAILURES = {
    "in an item": {
        "steps": [
            {"name": "each", "forEach": [1, 2, 3], "tolerate": 1, "steps": [
                {"name": "odd", "when": "${ item == 2 }", "fail": {"message": "no ${ string(item) }"}},
                {"name": "even", "needs": [{"step": "odd", "on": ["Skipped"]}], "transform": "${ item }"},
            ], "output": "${ steps.even.output }"},
        ],
        "output": "${ steps.each.output }",
    },
    "in too many items": {
        "steps": [{"name": "each", "forEach": [1, 2, 3], "maxParallel": 1, "fail": {"message": "x"}}],
    },
    "handled around": {
        "steps": [
            {"name": "risky", "steps": [{"name": "boom", "fail": {"message": "boom"}}]},
            {"name": "saved", "needs": [{"step": "risky", "on": ["Failed"]}], "transform": 1},
        ],
        "output": "${ steps.saved.output }",
    },
    "of an expression": {"steps": [{"name": "bad", "transform": "${ [1][3] }"}]},
    "never true": {
        "steps": [{"name": "again", "repeat": {"until": "${ false }", "max": 2, "delay": "10ms"}, "transform": 1}],
    },
    "no case": {"steps": [{"name": "way", "switch": [{"when": False, "steps": [{"name": "in", "transform": 1}]}]}]},
}  # fmt: skip


SAGA = {
    "steps": [
        {"name": "a", "function": {"name": "add", "with": {"values": []}}, "compensate": {"function": ADD}},
        {
            "name": "each", "needs": ["a"], "forEach": [1, 2, 3], "maxParallel": 1,
            "steps": [
                {"name": "x", "function": ADD, "compensate": {"function": ADD}},
                {"name": "y", "needs": ["x"], "transform": "${ item }", "compensate": {"function": ADD}},
            ],
        },
        {"name": "stop", "needs": ["each"], "fail": {"message": "enough"}},
    ],
    "finally": [{"name": "last", "transform": "${ run.phase + ' ' + error.message }"}],
}  # fmt: skip


STUMBLE = {"name": "stumble", "with": {"values": []}}
SOON = {"max": 3, "backoff": {"initial": "10ms", "jitter": "none"}}
LIMITED = {
    "a mutex": {
        "steps": [{"name": "each", "forEach": [1, 2, 3, 4], "concurrency": {"key": "door"}, "function": ADD}],
        "output": "${ steps.each.output }",
    },
    "a slot for which nobody waits": {
        "concurrency": {"key": "alone", "onConflict": "reject"},
        "steps": [{"name": "a", "function": ADD, "concurrency": {"key": "own", "onConflict": "reject"}}],
    },
    "a rate": {
        "steps": [{"name": "each", "forEach": [1, 2, 3], "rateLimit": {"rate": 20, "per": "1s"}, "function": ADD}],
    },
    "a breaker": {
        "steps": [
            {"name": "a", "breaker": {"key": "x", "failures": 1, "coolDown": "200ms"}, "retry": SOON,
             "function": STUMBLE},
            {"name": "b", "needs": ["a"], "breaker": {"key": "x", "failures": 1, "coolDown": "200ms"}, "function": ADD},
        ],
    },
    "a breaker that nobody waits for": {
        "steps": [
            {"name": "a", "breaker": {"key": "y", "failures": 1, "coolDown": "1h"}, "function": STUMBLE},
            {"name": "b", "needs": [{"step": "a", "on": ["Failed"]}], "function": ADD,
             "breaker": {"key": "y", "failures": 1, "coolDown": "1h"}},
            {"name": "c", "needs": [{"step": "b", "on": ["Failed"]}], "transform": "${ steps.b.error.type }"},
        ],
        "output": "${ steps.c.output }",
    },
    "a cache": {
        "steps": [
            {"name": "again", "repeat": {"max": 3}, "steps": [
                {"name": "look", "cache": {"key": "rates", "ttl": "1h"}, "retry": SOON, "function": STUMBLE},
            ]},
        ],
    },
}  # fmt: skip


PACK = {
    "inputs": {"number": {"type": "integer", "maximum": 3}},
    "concurrency": {"key": "packers"},
    "steps": [
        {"name": "wrap", "retry": SOON, "function": {"name": "stumble", "with": {"values": ["${ inputs.number }"]}}}
    ],
    "output": "${ steps.wrap.output }",
}
CALLS = {
    "children": {
        "steps": [{
            "name": "pack", "forEach": [1, 2, 3], "workflow": {"name": "pack", "inputs": {"number": "${ item }"}},
        }],
        "output": "${ steps.pack.output }",
    },
    "a child that is refused its inputs": {
        "steps": [
            {"name": "pack", "workflow": {"name": "pack", "inputs": {"number": 9}}},
            {"name": "told", "needs": [{"step": "pack", "on": ["Failed"]}], "transform": "${ steps.pack.error.type }"},
        ],
        "output": "${ steps.told.output }",
    },
    "a child that fails": {
        "steps": [
            {"name": "broken", "workflow": {"name": "broken"}, "retry": {"max": 1, "backoff": {"initial": "10ms"}}},
            {"name": "told", "needs": [{"step": "broken", "on": ["Failed"]}],
             "transform": "${ steps.broken.error.type + ' ' + steps.broken.error.error.message }"},
        ],
        "output": "${ steps.told.output }",
    },
    "children of children": {
        "steps": [{"name": "deep", "workflow": {"name": "deep"}}],
        "output": "${ steps.deep.output }",
    },
}  # fmt: skip
CALLEES = {
    "pack": PACK,
    "broken": {"steps": [{"name": "boom", "fail": {"message": "boom"}}]},
    "deep": {
        "steps": [{"name": "pack", "workflow": {"name": "pack", "inputs": {"number": 2}}}],
        "output": "${ [steps.pack.output] }",
    },
}


async def test_limits_go_the_same_way_in_memory_and_on_postgres(real):
    for (name, spec), (run, steps) in zip(LIMITED.items(), await real(LIMITED.values()), strict=True):
        score = rehearsed(spec)
        assert score.problems == [], name
        _same(score, run, steps)


async def test_child_runs_go_the_same_way_in_memory_and_on_postgres(real):
    callees = CALLEES.items()
    for (name, spec), (run, steps) in zip(CALLS.items(), await real(CALLS.values(), callees), strict=True):
        score = rehearsed(spec, callees=callees)
        assert (score.problems, score.label) == ([], "Succeeded"), name
        _same(score, run, steps)


@pytest.mark.parametrize("first", [0, 30])
async def test_random_graphs_go_the_same_way_in_memory_and_on_postgres(real, first):
    graphs = [a_graph(seed, slowest=0) for seed in range(first, first + 30)]
    for graph, (run, steps) in zip(graphs, await real([graph.spec for graph in graphs]), strict=True):
        _same(rehearsed(graph.spec), run, steps)


async def test_failures_go_the_same_way_in_memory_and_on_postgres(real):
    for (name, spec), (run, steps) in zip(FAILURES.items(), await real(FAILURES.values()), strict=True):
        score = rehearsed(spec)
        assert score.problems == [], name
        _same(score, run, steps)


def _same(score, run, steps):
    assert (score.phase, score.output, score.error) == (run.phase, run.output, run.error)
    if run.phase is Phase.SUCCEEDED:  # else it depends on the order of ends what had begun
        # How far a body came whose time passed depends on how fast the runner was.
        compared = {node.id for node in score.plan.steps if node.id > END and node.name not in IN_LATE}
        played = Counter(_end(c.node.id, c) for c in score.courses.values() if c.node.id in compared)
        real = Counter(_end(step.key.step, step) for step in steps if step.key.step in compared)
        assert played == real


async def test_what_was_done_is_undone_in_the_same_order_in_memory_and_on_postgres(real):
    score = rehearsed(SAGA)
    ((run, steps),) = await real([SAGA])
    assert (score.phase, score.error) == (run.phase, run.error)
    played = Counter(_end(course.node.id, course) for course in score.courses.values())
    assert played == Counter(_end(step.key.step, step) for step in steps if step.key.step > END)
    cleaning = sorted((step for step in steps if score.plan.steps[step.key.step].cleanup), key=lambda s: s.started_at)
    names = [score.plan.steps[step.key.step].name for step in cleaning if step.key.step > END]
    assert [course.node.name for course in score.courses.values() if course.node.cleanup] == names
    assert names == [*["y.compensate", "x.compensate"] * 3, "a.compensate", "last"]


def _end(node, step):
    """What is the same however fast a runner is: a step that has to be asked whether it is skipped was tried once."""
    attempts = getattr(step, "attempts", None) or getattr(step, "attempt", 0)
    return node, step.state, attempts if step.state in (State.SUCCEEDED, State.FAILED) else 0, repr(step.output)
