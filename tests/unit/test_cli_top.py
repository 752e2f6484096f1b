"""`leat top` on a terminal, driven by its keys, on a cluster that was recorded."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console
from textual.widgets import DataTable, RichLog, Static

from leat_cli.board import Board, merged
from leat_cli.dashboard import Dashboard, Tables
from leat_cli.problems import Unavailable
from leat_cli.readapi import LogLine, LogPage, LogQuery, PoolSnapshot
from leat_cli.screens import Confirm, Log, Steps
from leat_cli.snapshot import RunSnapshot, StepSnapshot

T0 = datetime(2030, 1, 1, 12, tzinfo=UTC)


def run(name: str, **changes: Any) -> RunSnapshot:
    return replace(RunSnapshot("shop", name, "order", "Running", progress="1/2", started_at=T0), **changes)


@dataclass
class Recording:
    """What a cluster said, and what it was asked for."""

    shown: Board
    lines: tuple[LogLine, ...] = ()
    steered: list[tuple[str, str, Any]] = field(default_factory=list)
    silent: bool = False

    async def board(self, namespace: str | None) -> Board:
        if self.silent:
            raise Unavailable("the API server does not answer")
        return replace(self.shown, runs=tuple(run for run in self.shown.runs if namespace in {None, run.namespace}))

    async def run(self, namespace: str, name: str) -> RunSnapshot | None:
        steps = (
            StepSnapshot("charge", "http", "Succeeded", 1),
            StepSnapshot("ship", "http", "Running", 1, needs=("charge",)),
        )
        return next(
            (
                replace(each, steps=steps)
                for each in self.shown.runs
                if (each.namespace, each.name) == (namespace, name)
            ),
            None,
        )

    async def log(self, namespace: str, name: str, query: LogQuery) -> LogPage:
        assert await self.run(namespace, name)
        new = tuple(line for line in self.lines if line.seq > (query.after or 0))
        return LogPage(new, self.lines[-1].seq if self.lines else None, finished=True)

    async def steer(self, namespace: str, name: str, wish: Any) -> RunSnapshot | None:
        self.steered.append((namespace, name, wish))
        return await self.run(namespace, name)


@pytest.fixture
def recording():
    pools = (PoolSnapshot("default", runners=2, slots=16, busy=3, backlog=7, oldest=1.5, desired=3, least=1, most=9),)
    line = LogLine(4, T0, "charge", 1, "stdout", "paid [bold]42")
    return Recording(Board(pools, (run("order-1"), run("order-2"), run("invoice-1"))), (line,))


def names(app: Dashboard) -> list[str]:
    table = app.screen.query_one("#runs", DataTable)
    return [str(table.get_row_at(number)[1]) for number in range(table.row_count)]


def text(app: Dashboard, selector: str) -> str:
    console = Console(width=160, color_system=None)
    with console.capture() as captured:
        console.print(app.screen.query_one(selector, Static).content)
    return captured.get()


async def test_runs_are_shown_and_filtered_by_what_is_typed(recording):
    app = Dashboard(recording, None)
    async with app.run_test() as pilot:
        await pilot.pause()
        assert names(app) == ["order-1", "order-2", "invoice-1"]
        await pilot.press("slash", *"invoice", "enter")
        assert names(app) == ["invoice-1"]
        await pilot.press("escape")
        assert names(app) == ["order-1", "order-2", "invoice-1"]


async def test_the_cursor_stays_on_its_run_when_others_come_and_go(recording):
    app = Dashboard(recording, None)
    async with app.run_test() as pilot:
        await pilot.pause()
        await pilot.press("down", "down")
        recording.shown = Board((), (run("order-9"), *recording.shown.runs[1:]))
        app.screen.look()
        await app.workers.wait_for_complete()
        await pilot.press("l")
        assert isinstance(app.screen, Log)
        assert app.screen.sub_title == "shop/invoice-1"


async def test_pools_show_their_queue(recording):
    app = Dashboard(recording, None)
    async with app.run_test() as pilot:
        await pilot.pause()
        await pilot.press("p")
        row = app.screen.query_one("#pools", DataTable).get_row("default")
        assert [str(cell) for cell in row] == ["default", "2", "3", "1-9", "3", "16", "7", "1.5s", ""]


async def test_enter_opens_the_tree_of_a_run_and_escape_goes_back(recording):
    app = Dashboard(recording, None)
    async with app.run_test() as pilot:
        await pilot.pause()
        await pilot.press("enter")
        assert isinstance(app.screen, Steps)
        await app.workers.wait_for_complete()
        assert "└─ ship" in text(app, "#steps")
        await pilot.press("escape")
        assert isinstance(app.screen, Tables)


async def test_a_log_is_shown_as_it_was_written(recording):
    app = Dashboard(recording, None)
    async with app.run_test() as pilot:
        await pilot.pause()
        await pilot.press("l")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert [line.text for line in app.screen.query_one(RichLog).lines] == ["[charge] paid [bold]42"]


@pytest.mark.parametrize(("answer", "steered"), [("n", []), ("y", [("shop", "order-2", {"cancel": True})])])
async def test_a_run_is_cancelled_only_when_it_is_meant(recording, answer, steered):
    app = Dashboard(recording, None)
    async with app.run_test() as pilot:
        await pilot.pause()
        await pilot.press("down", "c")
        assert isinstance(app.screen, Confirm)
        await pilot.press(answer)
        await app.workers.wait_for_complete()
        assert recording.steered == steered


async def test_a_cluster_that_falls_silent_leaves_what_was_seen(recording):
    app = Dashboard(recording, None)
    async with app.run_test() as pilot:
        await pilot.pause()
        recording.silent = True
        app.screen.look()
        await app.workers.wait_for_complete()
        assert "does not answer" in text(app, "#notes")
        assert len(names(app)) == 3


def test_a_pool_is_one_row_by_its_runners_and_its_resource():
    resource = {
        "metadata": {"name": "gpu"},
        "spec": {"replicas": {"min": 0, "max": 4}},
        "status": {"desired": 1, "ready": 1, "backlog": 5},
    }
    loads = (PoolSnapshot("default", runners=2), PoolSnapshot("gpu", runners=3, backlog=9))
    assert [(p.name, p.runners, p.backlog, p.desired, p.most) for p in merged(loads, [resource])] == [
        ("default", 2, 0, None, None),
        ("gpu", 3, 9, 1, 4),
    ]
    (alone,) = merged(None, [resource])
    assert (alone.runners, alone.backlog, alone.desired) == (1, 5, 1)
