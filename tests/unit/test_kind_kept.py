import asyncio

import pytest
from tests.support.queue import until

from leat_runner.kinds import kept
from leat_runner.kinds.kept import Kept


class Door:
    def __init__(self, key):
        self.key, self.usable, self.closed = key, True, False


class House:
    """Opens doors, and remembers them."""

    def __init__(self, **settings):
        self.doors = []
        self.fails = False
        self.kept = Kept(self.open, self.shut, lambda door: door.usable, **settings)

    async def open(self, key):
        await asyncio.sleep(0)
        if self.fails:
            raise ConnectionRefusedError
        self.doors.append(Door(key))
        return self.doors[-1]

    async def shut(self, door):
        door.closed = True

    async def go(self, key):
        async with self.kept.lent(key) as door:
            await asyncio.sleep(0)
            assert not door.closed
            return door


async def test_those_who_ask_at_once_share_one():
    house = House()
    doors = await asyncio.gather(*(house.go("a") for _ in range(5)))
    assert (len(set(doors)), len(house.doors)) == (1, 1)
    await house.kept.close()
    assert house.doors[0].closed


async def test_the_next_one_opens_what_could_not_be_opened():
    house = House()
    house.fails = True
    with pytest.raises(ConnectionRefusedError):
        await house.go("a")
    assert house.kept.keys == []
    house.fails = False
    await house.go("a")
    await house.kept.close()


async def test_one_that_broke_is_replaced_and_closed_when_nobody_uses_it():
    house = House()
    async with house.kept.lent("a") as first:
        first.usable = False
        second = await house.go("a")
        assert second is not first
        assert not first.closed
    await until(lambda: first.closed, 20)
    assert house.kept.keys == ["a"]
    await house.kept.close()


async def test_one_that_nobody_uses_is_closed_after_a_while():
    house = House(idle=0.01)
    door = await house.go("a")
    await until(lambda: door.closed, 20)
    assert house.kept.keys == []


async def test_of_many_the_ones_that_were_used_last_are_kept(monkeypatch):
    monkeypatch.setattr(kept, "MOST", 2)
    house = House()
    for key in "abac":
        await house.go(key)
    assert house.kept.keys == ["a", "c"]
    await house.kept.close()
    assert all(door.closed for door in house.doors)


async def test_one_that_is_lent_while_all_are_closed_is_closed_when_it_comes_back():
    house = House()
    async with house.kept.lent("a") as door:
        await house.kept.close()
        assert not door.closed
    await until(lambda: door.closed, 20)
