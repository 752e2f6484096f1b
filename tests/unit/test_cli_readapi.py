"""What the read API answers, and what is made of it."""

from datetime import UTC, datetime

import pytest

from leat_cli import readapi
from leat_cli.logs import Form, print_written, written_from_now
from leat_cli.readapi import LogLine, LogPage, LogQuery

T0 = datetime(2030, 1, 1, 12, tzinfo=UTC)
ERROR = {"type": "HttpStatus", "reason": "HttpStatus", "message": "503"}
STEPS = {
    "kind": "RunSteps",
    "metadata": {"name": "order-1", "namespace": "shop"},
    "steps": [
        {
            "name": "charge", "kind": "http", "pool": "default", "state": "Running", "attempt": 2, "needs": [],
            "queuedAt": "2030-01-01T12:00:00.000Z", "startedAt": "2030-01-01T12:00:00.000Z", "finishedAt": None,
            "runner": "pool-a-1", "note": None, "error": None, "output": None,
            "attempts": [
                {"attempt": 1, "runner": "pool-a-0", "error": ERROR, "queuedAt": None, "startedAt": None,
                 "finishedAt": "2030-01-01T12:00:00.000Z"},
            ],
        },
        {
            "name": "ship", "kind": "http", "pool": "default", "state": "Pending", "attempt": 0, "needs": ["charge"],
            "queuedAt": None, "startedAt": None, "finishedAt": None, "runner": None, "error": None, "output": None,
            "attempts": [],
        },
    ],
}  # fmt: skip


def test_steps_are_what_the_operator_says_they_are():
    charge, ship = readapi.steps_of(STEPS, ended=False)
    assert (charge.state, charge.attempts, charge.runner, charge.started_at) == ("Running", 2, "pool-a-1", T0)
    assert [(tried.attempt, tried.runner, tried.error) for tried in charge.earlier] == [(1, "pool-a-0", ERROR)]
    assert (ship.state, ship.needs, ship.note) == ("Pending", ("charge",), "")


def test_what_had_not_ended_when_its_run_did_was_stopped():
    assert [step.state for step in readapi.steps_of(STEPS, ended=True)] == ["Cancelled", "Cancelled"]


def test_what_is_inside_of_a_step_is_read_and_given_again():
    inner = {**STEPS["steps"][0], "attempts": []}
    shown = [{"index": 4, "label": "item 4", "state": "Running", "steps": [inner]}]
    each = {**STEPS["steps"][1], "name": "each", "scopes": {"states": {"Running": 1, "Succeeded": 7}, "shown": shown}}
    (step,) = readapi.steps_of({"steps": [each]}, ended=False)
    assert step.scopes is not None
    assert step.scopes.rest == {"Succeeded": 7}
    again = readapi.step_as_json(step)["scopes"]
    assert (again["states"], again["shown"][0]["label"]) == ({"Running": 1, "Succeeded": 7}, "item 4")
    assert again["shown"][0]["steps"][0]["runner"] == "pool-a-1"
    (stopped,) = readapi.steps_of({"steps": [each]}, ended=True)
    assert stopped.scopes is not None
    assert stopped.scopes.states == {"Cancelled": 1, "Succeeded": 7}
    assert stopped.scopes.shown[0].steps[0].state == "Cancelled"


@pytest.mark.parametrize(
    ("status", "served", "advice"),
    [
        (404, False, "set `readApi.enabled: true`"),
        (404, True, "has not begun"),
        (403, True, "apiGroups [read.leat.dev], resources [workflowruns/log], verbs [get]"),
        (503, False, "`kubectl get apiservice v1alpha1.read.leat.dev` says why"),
        (504, True, "answered 504: has not begun"),
    ],
)
def test_an_answer_that_is_none_says_what_to_do(status, served, advice):
    assert advice in readapi.why_not(status, "has not begun", readapi.LOG, served=served)


def test_a_log_and_loads_are_read_leniently_and_in_order():
    page = readapi.log_of({"kind": "RunLog", "lines": [{"seq": 3, "text": "x"}], "after": 3, "finished": False})
    assert page == LogPage((LogLine(3, None, "", 0, "", "x"),), 3, finished=False)
    pools = readapi.pools_of({"items": [{"name": "b", "busy": 1}, {"name": "a", "oldestReadySeconds": 0.5}]})
    assert [(pool.name, pool.busy, pool.oldest) for pool in pools] == [("a", 0, 0.5), ("b", 1, None)]


def test_a_query_names_only_what_was_asked_for():
    assert LogQuery("charge", after=7).as_query() == {"step": "charge", "after": 7, "limit": 1000}


class Recording:
    """A log of so many lines, in pages of two; ``later`` comes when all of them were read once."""

    def __init__(self, lines: int, later: int = 0) -> None:
        self._lines = [LogLine(seq, T0, "charge", 1, "stdout", f"line {seq}\n") for seq in range(1, lines + 1)]
        self._later = [
            LogLine(seq, T0, "ship", 2, "stdout", f"line {seq}") for seq in range(lines + 1, lines + later + 1)
        ]

    async def read(self, query: LogQuery) -> LogPage:
        found = [line for line in self._lines if line.seq > (query.after or 0)][:2]
        if not found:
            self._lines, self._later = self._lines + self._later, []
        after = found[-1].seq if found else query.after
        more = self._later or any(line.seq > (after or 0) for line in self._lines)
        return LogPage(tuple(found), after, finished=not more)


PLAIN, FULL = Form(prefix=False, timestamps=False), Form(prefix=True, timestamps=True)


@pytest.mark.parametrize(("tail", "shown"), [(None, [1, 2, 3, 4, 5]), (2, [4, 5]), (0, []), (9, [1, 2, 3, 4, 5])])
async def test_a_log_is_printed_once_and_its_tail_is_the_end_of_it(capsys, tail, shown):
    query = await print_written(Recording(5).read, LogQuery(), PLAIN, tail)
    assert capsys.readouterr().out == "".join(f"line {number}\n" for number in shown)
    assert query.after == 5


async def test_a_log_is_followed_from_where_it_was_read_until_its_run_has_ended():
    recording = Recording(3, later=3)
    query = await print_written(recording.read, LogQuery(), PLAIN, None)
    pages = [page async for page in written_from_now(recording.read, query)]
    assert [line.seq for page in pages for line in page.lines] == [4, 5, 6]


def test_a_line_says_who_wrote_it_and_when():
    line = LogLine(1, T0, "charge", 1, "stderr", "late \n")
    assert PLAIN.line(line) == "late \n"
    assert FULL.line(line) == "2030-01-01T12:00:00.000Z [charge] late \n"
    assert FULL.line(LogLine(1, T0, "charge", 3, "stderr", "x")) == "2030-01-01T12:00:00.000Z [charge#3] x\n"
