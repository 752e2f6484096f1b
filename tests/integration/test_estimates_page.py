"""The page on estimates, its sample, and what `leat` shows of a database that has learned."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.cli import leat
from tests.support.console import tried
from tests.support.hand import Hand, accepted, done

from leat_engine.store import Store

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "estimates.md"
SAMPLE = ROOT / "config" / "samples" / "estimates.yaml"
WORKFLOW = """\
apiVersion: leat.dev/v1alpha1
kind: Workflow
metadata: {name: test, namespace: test}
spec:
  steps:
    - {name: a, function: {name: add}}
    - {name: b, needs: [a], function: {name: add}}
"""
SPEC = {
    "steps": [
        {"name": "a", "function": {"name": "add"}},
        {"name": "b", "needs": ["a"], "function": {"name": "add"}},
    ]
}


async def learned(dsn):
    """Let the database learn that `a` takes 200 s and `b` 600 s; the name of a run that has begun."""
    store = await Store.connect(dsn)
    hand = await Hand.registered(store)
    run, jobs = await accepted(store, SPEC)
    await hand.claim(jobs)
    for node in (1, 2):
        await hand.end(hand.view(run, SPEC, node, complete=True), done(node))
    for node, seconds in ((1, 200.0), (2, 600.0)):
        await store._pool.execute(
            "update leat.step set opened_at = finished_at - make_interval(secs => $3),"
            " started_at = finished_at - make_interval(secs => $3) where run_id = $1 and id = $2",
            run.run_id,
            node,
            seconds,
        )
    await store.durations.fold(datetime.now(UTC) + timedelta(seconds=10))
    begun, _ = await accepted(store, SPEC)
    await store.close()
    return begun.name


@pytest.fixture(scope="module")
def run(database):
    return asyncio.run(learned(database))


def test_the_page_says_what_happens(tmp_path):
    assert tried(PAGE.read_text(), tmp_path) == 4


def test_the_sample_is_simulated_with_the_durations_beside_it():
    file = SAMPLE.parent / "durations" / SAMPLE.name
    found = leat("simulate", str(SAMPLE), "--durations", str(file), "-o", "json").json
    assert (found["workflow"], found["runs"], found["failed"]) == ("estimates", 200, 0)
    assert [part["step"] for part in found["criticalPath"]] == ["pack[]", "collect"]
    assert [(waits["limit"], waits["key"]) for waits in found["waits"]] == [
        ("pool", "default"),
        ("rateLimit", "carrier"),
    ]
    assert 40 < found["seconds"]["p50"] <= found["seconds"]["p90"] <= found["seconds"]["p99"] <= found["seconds"]["max"]


def test_people_read_when_a_run_of_a_database_ends_and_what_that_depends_on(database, run):
    where = ("--database", database, "--namespace", "test")
    text = leat("describe", run, *where).out
    (estimate,) = [line for line in text.splitlines() if line.startswith("Estimate:")]
    assert "ends in" in estimate
    assert re.search(r"^Critical: +a \d+% > b \d+%$", text, re.MULTILINE)
    found = leat("get", "run", run, *where, "-o", "json").json["estimate"]
    assert [part["step"] for part in found["criticalPath"]] == ["a", "b"]
    left = datetime.fromisoformat(found["finishAt"]) - datetime.now(UTC)
    assert 600 < left.total_seconds() < 850


@pytest.fixture
def workflow(tmp_path):
    file = tmp_path / "test.yaml"
    file.write_text(WORKFLOW)
    return str(file)


@pytest.mark.usefixtures("run")
def test_history_says_what_steps_take_and_a_file_what_would_be_different(database, workflow, tmp_path):
    history = ("--from-history", "--database", database, "-o", "json")
    assert leat("simulate", workflow, *history).json["seconds"]["p50"] == pytest.approx(800, rel=0.05)
    changed = tmp_path / "changed.yaml"
    changed.write_text("steps: {b: 5s}\n")
    found = leat("simulate", workflow, *history, "--durations", str(changed))
    assert found.json["seconds"]["p50"] == pytest.approx(205, rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--from-history", "--namespace", "other"), "no run of 'test' in namespace 'other' of the database has ended"),
        ((), "found no durations of some steps"),
        (("--durations", "/nowhere.yaml"), "/nowhere.yaml: there is no such file"),
    ],
)
def test_what_cannot_be_simulated_is_said(database, workflow, arguments, told):
    env = {"LEAT_DATABASE_URL": database} if "other" in arguments else {}
    found = leat("simulate", workflow, *arguments, env=env)
    assert (found.code, found.out) == (2, "")
    assert told in found.err


def test_history_is_asked_of_a_cluster_without_a_database(workflow):
    found = leat("simulate", workflow, "--from-history")
    assert (found.code, found.out) == (3, "")
    assert "no cluster to ask" in found.err


def test_too_much_is_refused_before_it_begins(workflow, tmp_path):
    file = tmp_path / "durations.yaml"
    file.write_text("default: 1s\n")
    found = leat("simulate", workflow, "--durations", str(file), "--runs", "100000", "--together", "1000")
    assert found.code == 2
    assert "found 200,000,000 steps to simulate in all, expected at most 3,000,000: take fewer --runs" in found.err
