import asyncio
import itertools
from collections.abc import Iterator
from uuid import UUID

import pytest

from leat_engine.job import Job, StepKey
from leat_runner.holdback import HOLD, HoldBack

RUN = UUID(int=1)


def jobs(*scopes: int) -> list[Job]:
    return [Job(StepKey(RUN, scope, 1), 1, "default") for scope in scopes]


def scopes(found: list[Job]) -> list[int]:
    return [job.key.scope for job in found]


class Bench:
    """A hold-back with its clock, the slots that came free, and what it told."""

    def __init__(self) -> None:
        self.now = 100.0
        self.freed = 0
        self.told: list[int] = []
        self.hold = HoldBack(lambda: self.freed, lambda told: self.told.extend(scopes(list(told))), lambda: self.now)

    def free(self, slots: int) -> None:
        """So many slots come free in each `HOLD` seconds."""
        self.now += 2 * HOLD
        self.freed += 2 * slots


@pytest.fixture
def bench() -> Iterator[Bench]:
    return Bench()


async def test_a_runner_that_frees_no_slots_tells_everything_at_once(bench):
    bench.free(0)
    bench.hold.put(jobs(1, 2, 3), waiting=0)
    assert bench.told == [1, 2, 3]
    assert not bench.hold


async def test_as_much_is_held_back_as_slots_came_free_lately(bench):
    bench.free(2)
    bench.hold.put(jobs(1, 2, 3), waiting=0)
    assert bench.told == [3]
    assert scopes(bench.hold.take(9)) == [1, 2]
    assert not bench.hold


async def test_what_waits_already_comes_first(bench):
    bench.free(5)
    bench.hold.put(jobs(1, 2), waiting=2)
    bench.hold.put(jobs(3, 4), waiting=2)
    assert bench.told == [4]
    assert scopes(bench.hold.take(9)) == [1, 2, 3]


async def test_a_pause_counts_as_a_slow_pace(bench):
    bench.free(5)
    bench.now += 8 * HOLD
    bench.hold.put(jobs(1, 2), waiting=0)
    assert bench.told == [2]


async def test_what_is_let_go_is_told_once(bench):
    bench.free(2)
    bench.hold.put(jobs(1, 2), waiting=0)
    bench.hold.let_go()
    bench.hold.let_go()
    assert bench.told == [1, 2]


async def test_what_is_not_claimed_in_time_is_told():
    told = asyncio.Queue[int]()
    freed = itertools.chain([0], itertools.repeat(4))
    loop = asyncio.get_running_loop()
    started = loop.time()
    offset = [0.0]
    hold = HoldBack(
        lambda: next(freed),
        lambda jobs: [told.put_nowait(job.key.scope) for job in jobs],
        lambda: loop.time() + offset[0],
    )
    offset[0] = 2 * HOLD
    hold.put(jobs(1, 2), waiting=0)
    assert scopes(hold.take(1)) == [1]
    assert await told.get() == 2
    assert loop.time() - started >= HOLD
    assert told.empty()
