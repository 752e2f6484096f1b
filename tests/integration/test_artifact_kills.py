"""A runner dies while a file is put, or right before or after the commit that makes it count."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from tests.support.fleet import NAMESPACE, a_fleet, ready
from tests.support.hand import accepted
from tests.support.queue import eventually, until

from leat_engine.artifacts import Objects
from leat_engine.caretakers.expire import expire
from leat_engine.errors import QueueUnavailable
from leat_engine.queue.rabbit import RabbitQueue
from leat_engine.store import Store

MAKE = {
    "name": "make",
    "script": {"run": "head -c 3000000 /dev/zero > $LEAT_OUTPUT; echo $LEAT_ATTEMPT > a.txt"},
    "artifacts": {"a": {"path": "a.txt"}},
}
READ = {
    "name": "read",
    "script": {
        "run": "wc -c < big > $LEAT_OUTPUT",
        "files": {"a": "${ steps.make.artifacts.a }", "big": "${ steps.make.output }"},
    },
}
SPEC = {"steps": [MAKE, READ], "output": "${ steps.read.output }"}


@pytest.fixture
async def store(database):
    store = await Store.connect(database)
    yield store
    await store.close()


@pytest.fixture
async def given(store, amqp_url):
    """The store and the queue."""
    queue = RabbitQueue(amqp_url, NAMESPACE)
    await queue.start()
    yield store, queue
    await queue.close()


@pytest.fixture
def fleet(database, amqp_url, tmp_path):
    with a_fleet(database, amqp_url, tmp_path) as fleet:
        yield fleet


@pytest.mark.parametrize(
    ("point", "counts"),
    [
        ("before put:1", 2),
        ("after put:1", 2),
        ("before put:2", 2),
        ("after put:2", 2),
        ("before commit:1", 2),
        ("after commit:1", 1),
    ],
)
async def test_a_file_counts_once_and_what_a_dead_runner_left_is_removed(point, counts, fleet, given, tmp_path):
    (store, queue), folder = given, tmp_path / "objects"
    doomed = fleet.start(artifacts_url=folder.as_uri(), crash_at=point)
    ready(doomed)
    run, jobs = await accepted(store, SPEC)
    with suppress(QueueUnavailable):  # the runners resend it
        await queue.publish(jobs)
    await until(lambda: not doomed.alive, 30)
    assert doomed.code == -9
    fleet.start(artifacts_url=folder.as_uri())

    async def over():
        return (await store.run(run.run_id)).phase.done

    await eventually(over, True, 60)
    ended = await store.run(run.run_id)
    assert (ended.phase.label, ended.output) == ("Succeeded", 3_000_000)
    await expire(store, Objects.connect(folder.as_uri()), datetime.now(UTC))
    kept = await store.artifacts.kept(run.run_id)
    assert [one.reference.key for one in kept] == [
        f"{run.namespace}/{run.run_id}/0/make/{counts}/{name}" for name in ("a", "output")
    ]
    assert _files(folder) == {one.reference.key for one in kept}
    content = b"".join([piece async for piece in Objects.connect(folder.as_uri()).get(kept[0].reference.key)])
    assert content == b"%d\n" % counts


def _files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
