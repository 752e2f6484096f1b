"""The projection of a run onto its resource's status."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_engine.errors import Reason
from leat_engine.job import StepKey, run_id_of
from leat_engine.plan import Plan
from leat_engine.records import Report, RunRecord, StepRecord
from leat_engine.redaction import REDACTED, Redaction
from leat_engine.result import Phase, State
from leat_engine.status import (
    FAILURES,
    MESSAGE_CHARS,
    Refusal,
    begun_at,
    reasons_message,
    rejected_status,
    run_status,
    waiting_status,
    workflow_status,
)

CREATED = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class Named:
    """A plan as far as a status reads it."""

    def __init__(self, *names: str, sensitive: frozenset[str] = frozenset()) -> None:
        self.steps = [type("Step", (), {"name": name}) for name in ("end", *names)]
        self.sensitive = sensitive


def plan(*names: str, sensitive: tuple[str, ...] = ()) -> Plan:
    return Named(*names, sensitive=frozenset(sensitive))  # type: ignore[return-value]


def record(**changes: Any) -> RunRecord:
    run = RunRecord(
        run_id=run_id_of("8d1f", CREATED),
        namespace="shop",
        name="order-1",
        workflow="order",
        revision="r1",
        uid="8d1f",
        generation=1,
        phase=Phase.RUNNING,
        suspended=False,
        stopping=None,
        inputs={},
        output=None,
        error=None,
        priority=0,
        total=5,
        live=1,
        succeeded=2,
        failed=0,
        skipped=1,
        started_at=CREATED + timedelta(seconds=0.25),
        finished_at=None,
    )
    return replace(run, **changes)


def ended(phase: Phase, **changes: Any) -> RunRecord:
    return record(phase=phase, live=0, finished_at=CREATED + timedelta(seconds=9), **changes)


def failed_step(node: int, error: Mapping[str, Any]) -> StepRecord:
    key = StepKey(run_id_of("8d1f", CREATED), 0, node)
    return StepRecord(key, State.FAILED, 1, None, error, 1, CREATED, CREATED, CREATED)


def shown(run: RunRecord, *failures: StepRecord, **changes: Any) -> dict[str, Any]:
    given = {"plan": plan("reserve", "charge"), **changes}
    return run_status(Report(1, run, failures), **given)


def condition(status: Mapping[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in status["conditions"] if each["type"] == name]
    return found


def statuses(status: Mapping[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in status["conditions"]}


def kstatus(resource: Mapping[str, Any]) -> str:
    """What kstatus computes for a resource of an unknown kind, after its published rules."""
    status = resource["status"]
    if status.get("observedGeneration") != resource["metadata"]["generation"]:
        return "InProgress"
    found = statuses(status)
    if found.get("Reconciling") == "True":
        return "InProgress"
    if found.get("Stalled") == "True":
        return "Failed"
    return "Current"


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (record(phase=Phase.PENDING), "InProgress"),
        (record(), "InProgress"),
        (record(suspended=True), "InProgress"),
        (record(stopping=Phase.FAILED), "InProgress"),
        (ended(Phase.SUCCEEDED), "Current"),
        (ended(Phase.FAILED), "Failed"),
        (ended(Phase.CANCELLED), "Current"),
    ],
)
def test_kstatus_reads_every_phase_right(run, expected):
    assert kstatus({"metadata": {"generation": 1}, "status": shown(run)}) == expected


def test_a_changed_spec_is_in_progress_until_it_was_observed():
    assert kstatus({"metadata": {"generation": 2}, "status": shown(ended(Phase.SUCCEEDED))}) == "InProgress"
    seen = shown(ended(Phase.SUCCEEDED), generation=2)
    assert kstatus({"metadata": {"generation": 2}, "status": seen}) == "Current"


def test_a_running_run_counts_its_steps():
    status = shown(record())
    assert status["steps"] == {"total": 5, "succeeded": 2, "failed": 0, "running": 1, "skipped": 1}
    assert status["progress"] == "3/5"
    assert status["phase"] == "Running"
    assert statuses(status) == {"Succeeded": "Unknown", "Reconciling": "True", "Stalled": "False"}
    assert "finishedAt" not in status


def test_a_succeeded_run_shows_its_output():
    status = shown(ended(Phase.SUCCEEDED, output={"receipt": None}))
    assert status["output"] == {"receipt": None}
    assert status["startedAt"] == "2026-03-01T12:00:00.250Z"
    assert status["finishedAt"] == "2026-03-01T12:00:09.000Z"
    assert condition(status, "Succeeded")["status"] == "True"


def test_a_large_output_is_left_out_with_a_note():
    status = shown(ended(Phase.SUCCEEDED, output="x" * 5000))
    assert "output" not in status
    assert "5002 bytes" in status["message"]


def test_sensitive_inputs_are_redacted_in_output_message_and_failures():
    error = {"type": "HttpStatus", "reason": "HttpStatus", "message": "401 for card 4111222233334444"}
    secret = {"plan": plan("charge", sensitive=("card",))}
    inputs = {"card": "4111222233334444"}
    run = ended(Phase.FAILED, inputs=inputs, error=error)
    assert "4111222233334444" not in str(shown(run, failed_step(1, error), **secret))
    run = ended(Phase.SUCCEEDED, inputs=inputs, output={"echo": ["4111222233334444"]})
    assert shown(run, **secret)["output"] == {"echo": [REDACTED]}


def test_without_its_plan_a_run_shows_nothing_that_may_be_sensitive():
    error = {"type": "Fail", "reason": "Fail", "message": "card 4111"}
    status = shown(ended(Phase.FAILED, error=error), failed_step(2, error), plan=None)
    assert "4111" not in str(status)
    assert status["failures"][0]["step"] == "2"
    assert "output" not in shown(ended(Phase.SUCCEEDED, output=1), plan=None)


def test_a_failed_run_names_the_step_the_reason_and_the_message():
    error = {"type": "HttpStatus", "reason": "HttpStatus", "message": "503 from https://pay.example"}
    status = shown(ended(Phase.FAILED, error=error), failed_step(2, error))
    assert status["failures"] == [{"step": "charge", "reason": "HttpStatus", "message": "503 from https://pay.example"}]
    assert condition(status, "Succeeded")["reason"] == "HttpStatus"
    assert status["message"] == "503 from https://pay.example"


def test_at_most_twenty_failures_are_shown():
    error = {"type": "Fail", "reason": "Fail", "message": "no"}
    names = [f"s{n}" for n in range(30)]
    status = shown(ended(Phase.FAILED), *[failed_step(n, error) for n in range(1, 31)], plan=plan(*names))
    assert len(status["failures"]) == FAILURES


def test_a_suspended_run_says_how_to_go_on():
    status = shown(record(suspended=True))
    assert status["phase"] == "Suspended"
    assert "spec.suspend" in status["message"]


def test_a_stopping_run_says_what_it_will_end_as():
    status = shown(record(stopping=Phase.CANCELLED, error={"type": "Cancelled", "message": "spec.cancel is true"}))
    assert status["message"] == "Ending as Cancelled: spec.cancel is true"
    assert condition(status, "Succeeded")["reason"] == "Stopping"


def test_a_rejected_run_has_failed_at_once():
    status = rejected_status([Reason("spec.inputs.card", "is required")], 3, CREATED)
    assert statuses(status) == {"Succeeded": "False", "Reconciling": "False", "Stalled": "True"}
    assert status["message"] == "spec.inputs.card: is required"
    assert status["observedGeneration"] == 3


def test_a_run_without_its_workflow_waits():
    status = waiting_status("order", 1, CREATED)
    assert status["phase"] == "Pending"
    assert condition(status, "Succeeded")["reason"] == "WorkflowNotFound"
    assert kstatus({"metadata": {"generation": 1}, "status": status}) == "InProgress"


def test_a_workflow_is_ready_with_its_revision_or_not_with_its_reasons():
    assert workflow_status("r1", (), 2, CREATED)["revision"] == "r1"
    reason = Reason("spec.steps[1].needs", "there is no step chrage; did you mean charge?")
    status = workflow_status(None, [reason], 2, CREATED)
    assert condition(status, "Ready")["status"] == "False"
    assert condition(status, "Ready")["message"] == str(reason)
    assert "revision" not in status


def test_reasons_that_do_not_fit_are_counted():
    reasons = [Reason(f"spec.steps[{n}].name", "is not a DNS label") for n in range(200)]
    message = reasons_message(reasons)
    assert len(message) <= MESSAGE_CHARS
    assert message.startswith("spec.steps[0].name: is not a DNS label; ")
    shown_reasons = message.count("is not a DNS label")
    assert message.endswith(f"and {200 - shown_reasons} more")


TEXT = st.text(max_size=3000)
RUNS = st.builds(
    record,
    phase=st.sampled_from(Phase),
    suspended=st.booleans(),
    stopping=st.sampled_from([None, Phase.FAILED, Phase.CANCELLED]),
    error=st.none() | st.fixed_dictionaries({"type": TEXT, "message": TEXT}),
    output=st.none() | st.integers(-(2**53), 2**53) | TEXT | st.lists(TEXT, max_size=5),
    succeeded=st.integers(0, 10_000),
    live=st.integers(0, 10_000),
).map(lambda run: replace(run, finished_at=CREATED + timedelta(1) if run.phase.done else None))


@given(RUNS)
def test_a_status_is_small_json_and_the_same_every_time(run):
    status = shown(run)
    assert status == shown(run)
    assert len(orjson.dumps(status)) < 32_000
    assert all(len(each["message"]) <= MESSAGE_CHARS for each in status["conditions"])


@given(RUNS, RUNS)
def test_a_transition_time_moves_only_with_its_status(before, after):
    earlier, later = shown(before), shown(after)
    for name in ("Succeeded", "Reconciling", "Stalled"):
        one, two = condition(earlier, name), condition(later, name)
        if one["status"] == two["status"]:
            assert one["lastTransitionTime"] == two["lastTransitionTime"]


@given(RUNS)
def test_exactly_the_ended_runs_are_decided(run):
    found = statuses(shown(run))
    assert (found["Succeeded"] == "Unknown") == (found["Reconciling"] == "True") == (not run.phase.done)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)), st.uuids())  # noqa: DTZ001
def test_the_begin_of_a_run_is_read_from_its_id(at, uid):
    assert abs(begun_at(run_id_of(str(uid), at)) - at) < timedelta(milliseconds=2)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)


@given(VALUES, st.text("abcdef0123456789", min_size=6, max_size=20))
def test_no_sensitive_text_is_left_anywhere(value, secret):
    redaction = Redaction.of(frozenset({"token"}), {"token": {"value": secret}})
    hidden = redaction.value({"before": value, "inside": [f"Bearer {secret}", secret], secret: 1})
    assert secret not in orjson.dumps(hidden["inside"]).decode()
    assert REDACTED in hidden


@given(VALUES)
def test_without_sensitive_inputs_nothing_is_redacted(value):
    assert Redaction.of(frozenset(), {"token": "x"}).value(value) == value


def test_a_running_run_says_what_a_step_of_it_waits_for():
    report = Report(1, record(), waiting_step=2, waiting="ImagePullBackOff: no such image")
    status = run_status(report, plan("fetch", "build"))
    assert status["message"] == "step build is waiting: ImagePullBackOff: no such image"
    assert {each["message"] for each in status["conditions"]} == {status["message"]}


def test_what_a_step_waits_for_is_no_news_of_a_run_that_ends():
    report = Report(1, record(stopping=Phase.CANCELLED), waiting_step=2, waiting="Unschedulable")
    assert run_status(report, plan("fetch", "build"))["message"] == "Ending as Cancelled"


def test_a_failed_run_says_why_in_a_word_that_can_be_selected():
    poisoned = ended(Phase.FAILED, error={"type": "RunnerLost", "message": "3 runners died while they ran it"})
    assert shown(poisoned)["reason"] == condition(shown(poisoned), "Stalled")["reason"] == "RunnerLost"
    assert rejected_status([Reason("spec", "is wrong")], 1, CREATED)["reason"] == "Rejected"
    assert "reason" not in shown(record())
    assert "reason" not in shown(ended(Phase.SUCCEEDED))


def test_a_run_says_what_it_goes_on_from():
    assert shown(record(rerun_of="order-0"))["rerunOf"] == "order-0"
    assert "rerunOf" not in shown(record())


def test_a_status_tells_when_the_run_is_likely_to_end_until_it_has_ended():
    finish = CREATED + timedelta(seconds=90.4)
    assert run_status(Report(1, record()), None, 1, finish=finish)["estimatedFinishAt"] == "2026-03-01T12:01:30Z"
    ended = record(phase=Phase.SUCCEEDED, live=0, finished_at=CREATED)
    assert "estimatedFinishAt" not in run_status(Report(1, ended), None, 1, finish=finish)


def test_a_run_that_was_migrated_says_so_and_one_that_cannot_be_says_why():
    assert "Migrated" not in statuses(shown(record()))
    told = condition(shown(record(revision="b" * 16, epoch=2)), "Migrated")
    assert (told["status"], told["message"]) == ("True", f"It goes on by revision {'b' * 16}")
    refusal = Refusal("Incompatible", "spec.steps[0]: step 'one' has ended", 7)
    told = condition(run_status(Report(0, record(epoch=2)), None, 9, refusal), "Migrated")
    assert (told["status"], told["reason"], told["observedGeneration"]) == ("False", "Incompatible", 7)
    assert told["message"] == refusal.message
