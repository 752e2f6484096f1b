"""`leat artifacts` on a database and a directory."""

import hashlib

import pytest
from tests.support.cli import leat
from tests.support.hand import Hand, accepted, done

from leat_engine.artifacts import Objects
from leat_engine.reference import key_of
from leat_engine.store.artifacts import ObjectId

CONTENT = b"name,number\nBert,4000123412341234\n"
SPEC = {
    "inputs": {"card": {"type": "string", "sensitive": True}},
    "steps": [{"name": "make", "script": {"run": "x"}, "artifacts": {"report": {"path": "a.csv"}}}],
}


@pytest.fixture
async def left(store, database, tmp_path):
    """A run whose step has succeeded and left a file; gives the run and what the command needs."""
    hand = await Hand.registered(store)
    run, jobs = await accepted(store, SPEC, inputs={"card": "4000123412341234"})
    (claim,) = await hand.claim(jobs)
    objects = Objects.connect(tmp_path.as_uri())
    key = key_of(run.namespace, claim.key, "make", 1, "report")
    this = ObjectId(claim.key, 1, "report")

    async def pieces():
        yield CONTENT

    assert await store.artifacts.intend(hand.runner, this, run.namespace, key, "text/csv")
    put = await objects.put(key, pieces(), "text/csv")
    assert await store.artifacts.keep(this, put.size, put.sha256)
    await hand.end(hand.view(run, SPEC, 1, complete=True), done(1))
    return run, key, {"LEAT_DATABASE_URL": database, "LEAT_ARTIFACTS_URL": tmp_path.as_uri()}


async def test_what_a_run_has_left_is_listed(left):
    run, key, env = left
    found = leat("artifacts", "list", run.name, "-n", run.namespace, env=env)
    assert [line.split() for line in found.out.splitlines()] == [
        ["STEP", "NAME", "SIZE", "TYPE", "SCOPE"],
        ["make", "report", str(len(CONTENT)), "text/csv", "0"],
    ]
    (one,) = leat("artifacts", "list", run.name, "-n", run.namespace, "-o", "json", env=env).json
    assert (one["key"], one["sha256"]) == (key, hashlib.sha256(CONTENT).hexdigest())


async def test_one_is_written_to_stdout_or_a_file_with_nothing_sensitive_in_it(left, tmp_path):
    run, _, env = left
    shown = "name,number\nBert,[redacted]\n"
    assert leat("artifacts", "get", run.name, "make", "report", "-n", run.namespace, env=env).out == shown
    file = tmp_path / "got.csv"
    found = leat("artifacts", "get", run.name, "make", "report", "-n", run.namespace, "-o", str(file), env=env)
    assert (found.code, found.out, file.read_text()) == (0, "", shown)


async def test_what_is_not_there_is_named_with_what_to_do(left, tmp_path):
    run, key, env = left
    found = leat("artifacts", "get", run.name, "make", "reprot", "-n", run.namespace, env=env)
    assert found.code == 2
    assert "has no artifact 'reprot' of step 'make'" in found.err
    assert leat("artifacts", "list", "nothing", "-n", run.namespace, env=env).code == 2
    assert "give --artifacts URL" in leat("artifacts", "get", "a", "b", "c", env={"LEAT_ARTIFACTS_URL": ""}).err
    assert "give --database URL" in leat("artifacts", "get", "a", "b", "c", env={**env, "LEAT_DATABASE_URL": ""}).err
    (tmp_path / key).unlink()
    gone = leat("artifacts", "get", run.name, "make", "report", "-n", run.namespace, "-o", str(tmp_path / "x"), env=env)
    assert (gone.code, "is gone" in gone.err) == (3, True)
    assert not (tmp_path / "x").exists()


async def test_what_was_changed_in_the_store_is_not_given_out(left, tmp_path):
    run, key, env = left
    (tmp_path / key).write_bytes(b"forged")
    found = leat(
        "artifacts", "get", run.name, "make", "report", "-n", run.namespace, "-o", str(tmp_path / "x"), env=env
    )
    assert (found.code, "is not what the step has left" in found.err) == (3, True)
    assert not (tmp_path / "x").exists()
