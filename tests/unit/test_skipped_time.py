"""A loop whose time jumps, but for while something outside is waited for."""

import asyncio
import sys
import time

import pytest

from leat_cli.rehearsal.time import skipping

YEAR = 365 * 86_400


def test_a_year_is_over_at_once():
    async def play(loop):
        await asyncio.sleep(YEAR)
        return loop.time()

    began = time.monotonic()
    assert skipping(play) == pytest.approx(YEAR)
    assert time.monotonic() - began < 60


def test_timers_go_off_in_their_order():
    seen = []

    async def nap(seconds):
        await asyncio.sleep(seconds)
        seen.append(seconds)

    async def play(_loop):
        await asyncio.gather(*(nap(seconds) for seconds in (3, 1, 2, 86_400 * 3, 0)))

    skipping(play)
    assert seen == [0, 1, 2, 3, 86_400 * 3]


def test_a_timeout_cuts_what_takes_longer():
    async def play(loop):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()
        return loop.time()

    assert skipping(play) == pytest.approx(3600)


def test_a_process_is_waited_for_and_its_time_counts():
    async def play(loop):
        async def other():
            await asyncio.sleep(3600)
            return "other"

        beside = asyncio.create_task(other())
        with loop.really():
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "print('said')", stdout=asyncio.subprocess.PIPE
            )
            said, _ = await process.communicate()
        assert not beside.done(), "time was not skipped meanwhile"
        assert 0 < loop.time() < 3600
        return said, await beside, loop.time()

    said, other, now = skipping(play)
    assert (said, other, now) == (b"said\n", "other", pytest.approx(3600))


def test_a_thread_is_waited_for():
    async def play(loop):
        with loop.really():
            return await asyncio.to_thread(lambda: "done")

    assert skipping(play) == "done"


def test_what_is_raised_comes_out():
    async def play(_loop):
        raise ValueError("so it is")

    with pytest.raises(ValueError, match="so it is"):
        skipping(play)
