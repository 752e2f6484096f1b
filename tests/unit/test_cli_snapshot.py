"""What is shown of a run: from records of the store, and from a resource."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from leat_cli.recorded import Recorded, edges_of, plan_of, snapshot_of
from leat_cli.resources import run_of_resource, workflow_of_resource
from leat_engine.job import StepKey
from leat_engine.records import AttemptRecord, RunRecord, ShownAttempt, ShownStep, StepRecord
from leat_engine.redaction import REDACTED
from leat_engine.result import Phase, State

RUN = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
T0 = datetime(2030, 1, 1, 12, tzinfo=UTC)
SPEC: dict[str, Any] = {
    "inputs": {"order": {"type": "string"}, "card": {"type": "string", "sensitive": True}},
    "steps": [
        {"name": "charge", "http": {"url": "https://pay.example"}},
        {"name": "ship", "needs": [{"step": "charge"}], "transform": {"a": 1}},
    ],
}


def run(**changes: Any) -> RunRecord:
    known: dict[str, Any] = {
        "run_id": RUN, "namespace": "shop", "name": "order-1", "workflow": "order", "revision": "r1", "uid": None,
        "generation": 1, "phase": Phase.RUNNING, "suspended": False, "stopping": None,
        "inputs": {"order": "A-17", "card": "4242-4242"}, "output": None, "error": None, "priority": 0, "total": 2,
        "live": 1, "succeeded": 0, "failed": 0, "skipped": 0, "started_at": T0, "finished_at": None,
    }  # fmt: skip
    return RunRecord(**known | changes)


def step(number: int, state: State, **changes: Any) -> ShownStep:
    known: dict[str, Any] = {
        "key": StepKey(RUN, 0, number), "state": state, "attempt": 1, "output": None, "error": None, "runner": 1,
        "queued_at": T0, "started_at": T0, "finished_at": None,
    }  # fmt: skip
    return ShownStep(StepRecord(**known | changes), "runner-1", 0)


def test_every_step_of_the_workflow_is_there_whether_it_began_or_not():
    shown = snapshot_of(run(), SPEC, Recorded([step(1, State.CLAIMED)]))
    assert [(s.name, s.kind, s.state, s.attempts) for s in shown.steps or ()] == [
        ("charge", "http", "Running", 1),
        ("ship", "transform", "Waiting", 0),
    ]


def test_a_step_is_shown_with_what_it_needs_and_who_has_it():
    spec = {"steps": [SPEC["steps"][0], {"name": "ship", "transform": "${ steps.charge.output }"}]}
    shown = snapshot_of(run(), spec, Recorded([step(1, State.CLAIMED)], edges=edges_of(plan_of(spec))))
    assert [(s.needs, s.pool, s.runner) for s in shown.steps or ()] == [
        ((), "default", "runner-1"),
        (("charge",), "default", ""),
    ]


def test_what_is_sensitive_in_other_runs_is_hidden_also_in_inputs():
    shown = snapshot_of(run(hidden=("A-17-secret",), inputs={"order": "of A-17-secret"}, parent="day-7"), SPEC)
    assert (shown.inputs, shown.parent) == ({"order": f"of {REDACTED}"}, "day-7")


def test_a_workflow_that_is_not_taken_any_more_shows_the_needs_that_were_written():
    spec = {"steps": [{"name": "a", "gone": {}}, {"name": "b", "needs": ["a"], "transform": 1}]}
    shown = snapshot_of(run(), spec, Recorded([], edges=edges_of(plan_of(spec))))
    assert [s.needs for s in shown.steps or ()] == [(), ("a",)]


def test_a_step_that_had_not_begun_when_the_run_ended_was_cancelled():
    ended = run(phase=Phase.FAILED, failed=1, live=0, finished_at=T0)
    shown = snapshot_of(ended, SPEC, Recorded([step(1, State.FAILED), step(2, State.WAITING, attempt=0)]))
    assert [s.state for s in shown.steps or ()] == ["Failed", "Cancelled"]


def test_the_result_has_the_documented_shape():
    record = step(1, State.SUCCEEDED, output={"id": 7}, started_at=T0 + timedelta(milliseconds=5), finished_at=T0)
    done = run(phase=Phase.SUCCEEDED, output={"receipt": 7}, succeeded=1, skipped=1, live=0, finished_at=T0)
    assert snapshot_of(done, SPEC, Recorded([record, step(2, State.OMITTED, attempt=0, started_at=None)])).result() == {
        "phase": "Succeeded",
        "output": {"receipt": 7},
        "error": None,
        "steps": {
            "charge": {
                "state": "Succeeded",
                "attempts": 1,
                "output": {"id": 7},
                "error": None,
                "queuedAt": "2030-01-01T12:00:00Z",
                "startedAt": "2030-01-01T12:00:00.005000Z",
                "finishedAt": "2030-01-01T12:00:00Z",
            },
            "ship": {
                "state": "Skipped",
                "attempts": 0,
                "output": None,
                "error": None,
                "queuedAt": "2030-01-01T12:00:00Z",
                "startedAt": None,
                "finishedAt": None,
            },
        },
    }


def test_a_sensitive_input_is_nowhere_to_be_seen():
    error = {"type": "HttpStatus", "message": "card 4242-4242 refused"}
    steps = [step(1, State.FAILED, error=error, output={"sent": ["4242-4242"]}, attempt=2)]
    attempts = [ShownAttempt(AttemptRecord(StepKey(RUN, 0, 1), 1, 1, error, T0, T0, T0), "runner-1")]
    shown = snapshot_of(run(phase=Phase.FAILED, error=error, output="4242-4242"), SPEC, Recorded(steps, attempts))
    assert "4242" not in repr(shown)
    assert shown.as_json()["inputs"] == {"order": "A-17", "card": REDACTED}


def test_a_suspended_run_says_so_until_it_is_stopped():
    assert snapshot_of(run(suspended=True), SPEC).phase == "Suspended"
    assert snapshot_of(run(suspended=True, stopping=Phase.CANCELLED), SPEC).phase == "Running"


RESOURCE: dict[str, Any] = {
    "metadata": {"name": "order-1", "namespace": "shop", "creationTimestamp": "2030-01-01T12:00:00Z"},
    "spec": {"workflow": {"name": "order"}, "inputs": {"order": "A-17", "card": "4242-4242"}},
}


def test_a_resource_that_nobody_has_seen_yet_is_pending():
    shown = run_of_resource(RESOURCE, SPEC)
    assert (shown.phase, shown.progress, shown.steps, shown.done) == ("Pending", "", None, False)
    assert shown.inputs == {"order": "A-17", "card": REDACTED}


def test_without_its_workflow_no_input_of_a_resource_is_shown():
    assert run_of_resource(RESOURCE, None).inputs == {"order": REDACTED, "card": REDACTED}


def test_a_finished_resource_shows_what_its_status_has():
    failure = {"step": "charge", "reason": "HttpStatus", "message": "503"}
    status = {"phase": "Failed", "progress": "1/2", "message": "charge failed", "failures": [failure],
              "finishedAt": "2030-01-01T12:00:09Z"}  # fmt: skip
    shown = run_of_resource(RESOURCE | {"status": status}, SPEC)
    assert (shown.done, shown.succeeded, shown.message, shown.failures) == (True, False, "charge failed", (failure,))
    assert shown.as_json()["failures"] == [failure]


def test_a_workflow_says_why_it_is_not_ready():
    condition = {"type": "Ready", "status": "False", "message": "spec.steps[0]: needs itself"}
    resource = {"metadata": {"name": "order"}, "spec": SPEC, "status": {"conditions": [condition]}}
    shown = workflow_of_resource(resource)
    assert (shown.ready, shown.message, shown.steps) == ("False", "spec.steps[0]: needs itself", 2)
