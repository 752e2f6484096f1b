"""`leat limits` and `leat get breakers` on a database."""

import pytest
from tests.support.cli import leat
from tests.support.hand import Hand, accepted

from leat_engine.restraint import Fuse, Rate
from leat_engine.store.turns import Claimed, Key, Wish

SPEC = {"steps": [{"name": "only", "function": {"name": "add"}}]}


@pytest.fixture
async def used(store, database):
    """A database with a slot that is held and waited for, a bucket with starts to come, and an open breaker."""
    hand = await Hand.registered(store)
    for _ in range(2):
        _, jobs = await accepted(store, SPEC)
        (claim,) = await hand.claim(jobs)
        claimed = Claimed(hand.runner, claim.key, 1, 1)
        await store.turns.enter(claimed, Key("test", "pay"), Wish(1))
        await store.turns.take(claimed, Key("test", "mail"), Rate(None, 1000.0, 1))
    await store.turns.tell(claimed, Key("test", "mail"), Fuse(None, 1, 60.0, 1000.0), failed=True)
    return database


async def test_limits_that_are_in_use_are_listed(used):
    done = leat("limits", "--database", used)
    assert done.code == 0, done.err
    rows = [line.split() for line in done.out.splitlines()]
    assert rows[1][:5] == ["test", "pay", "1", "1", "1"]
    assert rows[3][:2] == ["test", "mail"]
    assert rows[5][:4] == ["test", "mail", "Open", "0"]
    found = leat("limits", "-o", "json", "--database", used).json
    assert {name: len(rows) for name, rows in found.items()} == {"slots": 1, "buckets": 1, "breakers": 1}
    assert "no limit holds anything back" in leat("limits", "-n", "other", "--database", used).err


async def test_breakers_are_listed_alone(used):
    (breaker,) = leat("get", "breakers", "-o", "json", "--database", used).json
    assert (breaker["key"], breaker["state"]) == ("mail", "Open")
    assert leat("get", "breakers", "-n", "other", "--database", used).out == ""


def test_limits_ask_for_the_database_they_are_kept_in():
    done = leat("limits", env={"LEAT_DATABASE_URL": ""})
    assert (done.code, "give --database" in done.err) == (2, True)
