"""What pools say of themselves, and the number of runners that a scaler asks for, on a real Postgres."""

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.hand import Hand, accepted, age, steps

from leat_engine.pools import Ability
from leat_engine.store import Store, migrate
from leat_engine.store.scaling import needed_query

ABLE = Ability(("function", "http"), ("add", "charge"), "abc")


@pytest.fixture
async def store(postgres_dsn):
    await migrate(postgres_dsn)
    store = await Store.connect(postgres_dsn)
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("truncate leat.runner, leat.pool, leat.ready, leat.timer, leat.hold")
    await connection.close()
    yield store
    await store.close()


async def asked(dsn, pool="default", slots=10):
    """What a scaler gets, which knows no parameters and none of our settings."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(needed_query(pool, slots))
    finally:
        await connection.close()


async def test_the_last_runner_that_registers_says_what_its_pool_can_do(store):
    await store.register("a", "gpu", 10, ABLE)
    await store.register("b", "gpu", 20, Ability(("function",), ("train",), "def"))
    await store.register("c", "plain", 10)
    (known,) = (await store.pools.announced()).values()
    assert (known.name, known.slots, known.revision) == ("gpu", 20, "def")
    assert (known.kinds, known.functions) == (frozenset({"function"}), frozenset({"train"}))


async def test_a_heartbeat_says_what_the_runner_holds(store):
    runner = await store.register("a", "default", 10)
    assert await store.heartbeat(runner, 3, 7.5)
    (member,) = await store.pools.members()
    assert (member.name, member.busy, member.draining) == ("a", 3, False)
    assert member.held_seconds >= 7.5
    assert await store.heartbeat(runner, 0, draining=True)
    (member,) = await store.pools.members()
    assert (member.busy, member.draining, member.held_seconds) == (0, True, None)


async def test_the_backlog_is_what_nobody_has_claimed(store):
    _, jobs = await accepted(store, steps("a", "b", "c"))
    assert (await store.pools.backlog())["default"].waiting == 3
    await (await Hand.registered(store)).claim(jobs[:2])
    backlog = (await store.pools.backlog())["default"]
    assert backlog.waiting == 1
    assert backlog.oldest_seconds >= 0


async def test_nothing_is_needed_when_nothing_is_held(store, postgres_dsn):
    await store.register("a", "default", 10)
    assert await asked(postgres_dsn) == 0
    assert await asked(postgres_dsn, "nobody") == 0


async def test_slots_in_use_are_to_be_four_fifths_of_all(store, postgres_dsn):
    for busy in (8, 8, 1):
        await store.heartbeat(await store.register("a", "default", 10), busy, 1.0)
    assert await asked(postgres_dsn) == 3  # 17 of 3 * 8


async def test_every_runner_that_holds_a_step_for_longer_counts(store, postgres_dsn):
    for held in (1.0, 6.0, 600.0):
        await store.heartbeat(await store.register("a", "default", 1000), 1, held)
    assert await asked(postgres_dsn, slots=1000) == 2


async def test_who_drains_is_not_needed(store, postgres_dsn):
    await store.heartbeat(await store.register("a", "default", 10), 10, 60.0, draining=True)
    await store.heartbeat(await store.register("b", "default", 10), 0)
    assert await asked(postgres_dsn) == 0


async def test_a_pool_at_rest_needs_a_runner_for_a_job_whose_message_was_lost(store, postgres_dsn):
    await accepted(store, steps("a"))
    assert await asked(postgres_dsn) == 1


async def test_a_suspended_run_does_not_wake_a_pool(store, postgres_dsn):
    await accepted(store, steps("a"), suspended=True)
    assert await asked(postgres_dsn) == 0


async def test_a_pool_at_rest_needs_a_runner_for_a_timer_that_is_due(store, postgres_dsn):
    run, _ = await accepted(store, steps("a"), timeout=3600)
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("delete from leat.ready")
    assert await asked(postgres_dsn) == 0
    await connection.execute("update leat.timer set due_at = now() - interval '1 minute' where run_id = $1", run.run_id)
    await connection.close()
    assert await asked(postgres_dsn) == 1


async def test_a_pool_at_rest_needs_a_runner_for_the_steps_of_the_dead(store, postgres_dsn):
    _, jobs = await accepted(store, steps("a"))
    hand = await Hand.registered(store)
    await hand.claim(jobs)
    await age(postgres_dsn, hand.runner, 60)
    await store.care.bury(6)
    assert await asked(postgres_dsn) == 1
    assert await store.care.rescue(hand.runner, {"type": "RunnerLost"})
    assert await store.care.forsaken() == []
    assert await asked(postgres_dsn) == 1  # for the job that this made
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("delete from leat.ready")
    await connection.close()
    assert await asked(postgres_dsn) == 0


async def test_a_pool_whose_last_runner_was_killed_is_woken_as_one_at_rest(store, postgres_dsn):
    idle = await store.register("a", "default", 10)
    await accepted(store, steps("a"))
    assert await asked(postgres_dsn) == 0  # it is there and will take the job
    await age(postgres_dsn, idle, 60)
    assert await asked(postgres_dsn) == 1  # nobody is there to declare it dead


async def test_steps_that_the_last_runner_of_a_pool_took_with_it_wake_the_pool(store, postgres_dsn):
    _, jobs = await accepted(store, steps("a"))
    hand = await Hand.registered(store)
    await hand.claim(jobs)
    assert await asked(postgres_dsn) == 0
    await age(postgres_dsn, hand.runner, 60)
    assert await asked(postgres_dsn) == 1


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 10), st.one_of(st.none(), st.floats(0, 1000)), st.booleans()), max_size=8),
    st.integers(1, 10),
)
async def test_never_are_fewer_needed_than_hold_a_step(store, postgres_dsn, members, slots):
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("truncate leat.runner")
    await connection.close()
    for busy, held, draining in members:
        await store.heartbeat(await store.register("a", "default", slots), busy, held, draining=draining)
    needed = await store.pools.needed("default", slots)
    staying = [(busy, held) for busy, held, draining in members if not draining]
    assert needed >= sum(held is not None and held > 5 for _, held in staying)
    assert needed * slots * 0.8 >= sum(busy for busy, _ in staying) - 1e-6
    assert needed <= sum(busy for busy, _ in staying) / (slots * 0.8) + 1 + len(staying)
    assert needed == await asked(postgres_dsn, slots=slots)


def test_a_name_that_is_none_of_a_pool_gets_no_query():
    with pytest.raises(ValueError, match="expected the name of a pool"):
        needed_query("x' or true", 1)
