"""Bodies of a run, for people who read: the crossing of `inside`. Bounded, however many items a `forEach` has.

One look costs two statements for each level of bodies that the plan has, two for the steps in what is shown, and two
for compensations if there are any; a run without all of these costs none.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from leat_engine import inside
from leat_engine.inside import Inside, NotThere, ShownBlock, ShownScope, Spot, Within
from leat_engine.job import ROOT_SCOPE
from leat_engine.plan import END, Plan
from leat_engine.records import Block, ShownAttempt, ShownStep
from leat_engine.result import State
from leat_engine.store.access import Connect
from leat_engine.store.rows import shown_attempt_of, shown_step_of

BLOCKS = 100
"""Steps with bodies that are looked into, on one level."""

ATTEMPTS = 5
"""Earlier attempts of a step within a body that are shown."""

Opened = tuple[int, int, Block]
"""The scope and the node of a step, and what it has opened."""


class Scopes:
    """Scopes of runs. Every method raises `StoreUnavailable` when Postgres does not answer."""

    def __init__(self, connection: Connect, sql: Mapping[str, str]) -> None:
        self._connection = connection
        self._sql = sql

    async def look(self, run_id: UUID, plan: Plan, scope: int = 0, body: int = 0) -> Inside:
        """What is inside of a scope's steps, and inside of theirs: of each step the scopes that are worth showing."""
        async with self._connection() as connection:
            look = _Look(connection, self._sql, run_id, plan)
            if scope == ROOT_SCOPE and plan.undoing:
                await look.undone()
            return await look.below({scope: body})

    async def spot(self, run_id: UUID, plan: Plan, within: Within) -> Spot:
        """What is at a path.

        Raises:
            NotThere: Nothing is there.
        """
        async with self._connection() as connection:
            look = _Look(connection, self._sql, run_id, plan)
            scope, body, found = await look.locate(within.path)
            look.include(scope)
            seen = await (look.below({scope: body}) if found is None else look.listed(found, within))
            return Spot(scope, body, None if found is None else found[1], seen)


class _Look:
    """One look, on one connection."""

    def __init__(self, connection: PoolConnectionProxy, sql: Mapping[str, str], run_id: UUID, plan: Plan) -> None:
        self._connection = connection
        self._sql = sql
        self._run_id = run_id
        self._plan = plan
        self._openers = {step.body for step in plan.steps if step.opens is not None}
        if plan.final is not None:
            self._openers.add(0)
        self._blocks: dict[tuple[int, int], ShownBlock] = {}
        self._shown: list[int] = []
        self._room = inside.ROWS
        self._steps: dict[int, list[ShownStep]] = defaultdict(list)
        self._attempts: dict[int, list[ShownAttempt]] = defaultdict(list)

    def include(self, scope: int) -> None:
        """Show the steps of a scope itself, too."""
        if scope:
            self._shown.append(scope)

    async def undone(self) -> None:
        """Show the compensations of the run itself: its only steps behind those of the spec."""
        nodes = self._plan.total + 1, max(step.id for step in self._plan.steps)
        for row in await self._fetch("show_steps", *nodes, inside.OUTPUT_BYTES):
            self._steps[ROOT_SCOPE].append(shown_step_of(row))
        for row in await self._fetch("show_attempts", *nodes, ATTEMPTS):
            self._attempts[ROOT_SCOPE].append(shown_attempt_of(row))

    async def below(self, scopes: Mapping[int, int]) -> Inside:
        """Everything below these scopes, whose bodies are given."""
        level = {scope: body for scope, body in scopes.items() if body in self._openers}
        while level:
            rows = await self._fetch("show_blocks", [*level], BLOCKS)
            opened = [(row["scope"], row["step_id"], _block(row)) for row in rows if self._shows(row)]
            level = await self._choose(opened, inside.SCOPES) if opened else {}
        return await self._inside()

    async def listed(self, opened: Opened, within: Within) -> Inside:
        """Scopes of one step in their order, with what is below them."""
        scope, node, block = opened
        most = min(within.limit, max(self._room // self._plan.bodies[block.body].nodes, 1))
        until = min(within.after + most, block.opened)
        rows = await self._scopes([(block, min(within.after, until), until, False)], most)
        scopes = tuple(sorted((_scope(block, row) for row in rows), key=lambda each: each.index))
        states = await self._scopes([(block, block.settled, block.opened, False)], 1)
        self._keep(scope, node, block, scopes, states)
        return await self.below({each.number: block.body for each in self._blocks[scope, node].scopes})

    async def locate(self, path: str) -> tuple[int, int, Opened | None]:
        """The scope at a path and its body; what its last step has opened if that is to be listed.

        Raises:
            NotThere: Nothing is there.
        """
        scope, body = 0, 0
        parts = list(inside.segments(path))
        for number, (name, index) in enumerate(parts, start=1):
            step = inside.opener_in(self._plan, body, name)
            rows = await self._fetch("block", scope, step.id)
            if not rows:
                raise NotThere(f"scope: step {name!r} has opened nothing, or not yet")
            block = Block(**rows[0])
            if index is None and inside.many(step.opens):
                if number == len(parts):
                    return scope, body, (scope, step.id, block)
                raise NotThere(f"scope: step {name!r} has {block.opened} scopes: write which, such as {name}[0]")
            if (index or 0) >= block.opened:
                raise NotThere(f"scope: found {name}[{index}], but step {name!r} has opened {block.opened} so far")
            scope, body = block.base + (index or 0), block.body
        return scope, body, None

    async def _choose(self, opened: Sequence[Opened], most: int) -> dict[int, int]:
        """Keep what is shown of these blocks; the scopes below which there may be more, with their bodies."""
        asked = [(block, _since(block, most), block.opened, block.failed > 0) for _, _, block in opened]
        of_base: dict[int, list[asyncpg.Record]] = defaultdict(list)
        for row in await self._scopes(asked, most):
            of_base[row["base"]].append(row)
        level: dict[int, int] = {}
        for scope, node, block in opened:
            rows = of_base[block.base]
            scopes = inside.chosen([_scope(block, row) for row in rows], most)
            self._keep(scope, node, block, scopes, rows)
            level |= {each.number: block.body for each in self._blocks[scope, node].scopes}
        return {scope: body for scope, body in level.items() if body in self._openers}

    def _keep(
        self, scope: int, node: int, block: Block, scopes: Sequence[ShownScope], counted: Sequence[asyncpg.Record]
    ) -> None:
        """Show as many of these scopes as there is room for."""
        fit = max(self._room // self._plan.bodies[block.body].nodes, 0 if self._shown else 1)
        taken = inside.chosen(scopes, fit)
        self._room -= len(taken) * self._plan.bodies[block.body].nodes
        self._shown += [each.number for each in taken]
        window: Counter[State | None] = Counter()
        for row in {row["state"]: row for row in counted if row["alike"]}.values():
            window[_state(block, row)] += row["alike"]
        states = inside.states_of(self._plan.steps[node], block, window)
        self._blocks[scope, node] = ShownBlock(block, taken, states)

    async def _scopes(self, asked: Sequence[tuple[Block, int, int, bool]], most: int) -> list[asyncpg.Record]:
        columns = [
            [block.base for block, *_ in asked],
            [since for _, since, _, _ in asked],
            [until for _, _, until, _ in asked],
            [self._plan.bodies[block.body].result for block, *_ in asked],
            [block.settled for block, *_ in asked],
            [failed for *_, failed in asked],
        ]
        return await self._fetch("show_scopes", *columns, most)

    async def _inside(self) -> Inside:
        if self._shown:
            for row in await self._fetch("show_within", self._shown, inside.OUTPUT_BYTES, inside.ROWS):
                self._steps[row["scope"]].append(shown_step_of(row))
            for row in await self._fetch("show_tried", self._shown, ATTEMPTS, inside.ROWS):
                self._attempts[row["scope"]].append(shown_attempt_of(row))
        return Inside(self._blocks, dict(self._steps), dict(self._attempts))

    def _shows(self, row: asyncpg.Record) -> bool:
        """Whether a block is that of a step, or `finally`, and has scopes."""
        final = self._plan.final
        known = row["step_id"] > END or (final is not None and row["body"] == final.number)
        return known and row["opened"] > 0

    async def _fetch(self, verb: str, *arguments: object) -> list[asyncpg.Record]:
        found: list[asyncpg.Record] = await self._connection.fetch(self._sql[verb], self._run_id, *arguments)
        return found


def _block(row: asyncpg.Record) -> Block:
    return Block(**{name: value for name, value in row.items() if name not in {"scope", "step_id"}})


def _since(block: Block, most: int) -> int:
    """From where on scopes are looked at: all that may be under way, and enough of them to show."""
    return max(min(block.settled, block.opened - most), 0)


def _scope(block: Block, row: asyncpg.Record) -> ShownScope:
    return ShownScope(row["scope"], row["scope"] - block.base, _state(block, row))


def _state(block: Block, row: asyncpg.Record) -> State | None:
    """How a scope has ended; of a body that took too long, those that had not are cancelled."""
    if row["state"] is None:
        return State.CANCELLED if block.shut else None
    return State(row["state"])
