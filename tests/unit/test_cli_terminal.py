"""How runs look to people."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from leat_cli import terminal
from leat_cli.describe import facts
from leat_cli.snapshot import Outlook, RunSnapshot, StepSnapshot

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


def run(*steps: StepSnapshot, phase: str = "Running", message: str = "") -> RunSnapshot:
    return RunSnapshot("shop", "order-1", "order", phase, message=message, started_at=NOW, steps=steps)


def lines(before: RunSnapshot | None, after: RunSnapshot) -> list[str]:
    return list(terminal.changes(before, after, NOW))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.0123, "12ms"), (0.9999, "1.0s"), (1.25, "1.2s"), (59.97, "1m00s"), (65, "1m05s"), (7_800, "2h10m"),
     (273_600, "3d04h")],
)  # fmt: skip
def test_a_duration_has_two_units_at_most(seconds, text):
    assert terminal.duration(seconds) == text


@given(st.floats(0, 1e9))
def test_every_duration_is_short(seconds: float):
    assert 0 < len(terminal.duration(seconds)) <= 9


def test_a_clock_behind_the_servers_shows_no_negative_duration():
    assert terminal.took(NOW + timedelta(seconds=3), None, NOW) == "0ms"


def test_a_line_is_printed_for_what_changed_and_for_nothing_else():
    first = run(StepSnapshot("charge", "http", "Running", 1, started_at=NOW), StepSnapshot("ship", "http", "Waiting"))
    error = {"type": "HttpStatus", "reason": "HttpStatus", "message": "503"}
    again = StepSnapshot("charge", "http", "Running", 2, started_at=NOW)
    failed = StepSnapshot("charge", "http", "Failed", 2, error=error, started_at=NOW, finished_at=NOW)
    assert lines(None, first) == ["order-1: Running", "order-1/charge: Running"]
    assert lines(first, first) == []
    assert lines(first, run(again)) == ["order-1/charge: Running, attempt 2"]
    assert lines(run(again), run(failed, phase="Failed", message="step charge failed")) == [
        "order-1/charge: Failed, 0ms, attempt 2, HttpStatus: 503",
        "order-1: Failed: step charge failed",
    ]


def test_an_error_of_many_lines_stays_on_one():
    error = {"type": "ExitCode", "message": "a\n  b\n" + "c" * 500}
    shown = terminal.error_line(error, 40)
    assert shown.startswith("ExitCode: a b ccc")
    assert len(shown) == 40


def test_when_not_all_steps_fit_those_that_move_or_failed_are_shown():
    quiet = [StepSnapshot(f"s{number}", "http", "Succeeded") for number in range(100)]
    busy = [StepSnapshot("moving", "http", "Running"), StepSnapshot("broken", "http", "Failed")]
    shown = terminal.worth_showing([*quiet, *busy], 5)
    assert [step.name for step in shown] == ["s0", "s1", "s2", "moving", "broken"]


def test_what_goes_into_a_pipe_is_not_cut(capsys):
    terminal.out().print(terminal.table(["NAME", "MESSAGE"], [["n" * 90, "m" * 200]]))
    assert capsys.readouterr().out.splitlines()[1].split() == ["n" * 90, "m" * 200]


def test_markup_in_names_and_messages_is_text():
    console = Console(width=100, record=True, file=None, force_terminal=False)
    error = {"type": "Fail", "message": "[red]no[/red] [/] [bold"}
    with console.capture() as captured:
        console.print(terminal.tree(run(StepSnapshot("a", "fail", "Failed", 1, error=error), message="[x]"), NOW))
    assert "[red]no[/red] [/] [bold" in captured.get()
    assert "[x]" in captured.get()


def test_a_run_says_when_it_is_likely_to_end_and_why_not_earlier():
    outlook = Outlook(NOW + timedelta(seconds=125), NOW + timedelta(seconds=190), (("charge", 0.75), ("ship", 0.25)))
    running = replace(run(), outlook=outlook)
    assert terminal.outlook(running, NOW) == "ends in 2m05s (9 of 10: 3m10s)"
    assert terminal.critical_path(running) == "charge 75% > ship 25%"
    assert lines(None, running) == ["order-1: Running", "order-1: ends in 2m05s (9 of 10: 3m10s)"]
    assert lines(running, running) == []
    ended = replace(running, phase="Succeeded")
    assert (terminal.outlook(ended, NOW), terminal.critical_path(ended)) == ("", "")


def test_what_is_not_known_of_an_end_is_said_by_describe():
    waiting = replace(run(), outlook=Outlook(unknown=("ship",), people=("review",)))
    (line,) = [line for line in facts(waiting, NOW) if line.startswith("Estimate")]
    assert line == "Estimate:   not known (ship: never ended yet; review: for somebody to answer)"
