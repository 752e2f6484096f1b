"""What a pod's status says about its step."""

import base64
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_engine.result import Failed, Succeeded
from leat_runner.kinds.pod_log import split
from leat_runner.kinds.pod_state import (
    Exited,
    Gone,
    Running,
    Waiting,
    failure,
    not_started,
    state_of,
    taken_away,
    told_by_file,
    told_by_message,
    why_no_pod,
)


def pod(state=None, **status):
    own = [{"name": "step", "state": state}] if state is not None else []
    deleted = {"deletionTimestamp": "2026-03-01T12:00:00Z"} if status.pop("deleted", False) else {}
    return {"metadata": {"name": "p", **deleted}, "status": {"containerStatuses": own, **status}}


def waiting(reason, message=""):
    return {"waiting": {"reason": reason, "message": message}}


def ended(code, **more):
    return {"terminated": {"exitCode": code, **more}}


DISRUPTED = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drain"}]


def test_a_new_pod_only_takes_its_time():
    assert state_of(pod()).reason == "Pending"
    assert state_of(pod(waiting("ContainerCreating"))).reason == "Pending"


@pytest.mark.parametrize(
    "reason", ["ImagePullBackOff", "ErrImagePull", "CreateContainerConfigError", "InvalidImageName"]
)
def test_a_container_that_waits_says_for_what(reason):
    assert state_of(pod(waiting(reason, "because"))) == Waiting(reason, "because")


def test_a_pod_that_no_node_takes_says_so():
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    assert str(state_of(pod(conditions=[condition]))) == "Unschedulable: 0/3 nodes"


def test_a_container_runs_and_ends():
    assert state_of(pod({"running": {}})) == Running()
    assert state_of(pod(ended(0, reason="Completed", message="out"))) == Exited(0, "Completed", "out")
    assert state_of(pod(ended(3, reason="Error"), phase="Failed")).code == 3


def test_an_evicted_pod_is_not_the_steps_fault():
    seen = state_of(pod(ended(143), phase="Failed", conditions=DISRUPTED))
    assert (seen.reason, seen.message) == (
        "EvictionByEvictionAPI",
        "the pod was evicted, as by a drain of its node: drain",
    )
    error = taken_away(seen).error
    assert (error.type, error.retriable) == ("Evicted", True)
    assert state_of(pod(phase="Failed", reason="Evicted", message="low on memory")).message.endswith("low on memory")


def test_a_step_that_succeeds_while_its_pod_is_taken_away_has_succeeded():
    assert state_of(pod(ended(0), conditions=DISRUPTED, deleted=True)) == Exited(0, "", "")


def test_a_pod_that_is_being_deleted_may_still_end_its_step():
    seen = state_of(pod({"running": {}}, deleted=True))
    assert isinstance(seen, Gone)
    assert not seen.final


def test_memory_that_ran_out_is_told_even_when_the_pod_is_evicted_afterwards():
    seen = state_of(pod(ended(137, reason="OOMKilled"), phase="Failed"))
    error = failure(seen, "").error
    assert (error.type, error.reason, error.details["exitCode"]) == ("OutOfMemory", "OOMKilled", 137)


def by_file(step, teller):
    statuses = {"initContainerStatuses": [{"name": "step", "state": step}]}
    return {"metadata": {}, "status": {**statuses, "containerStatuses": [{"name": "leat-output", "state": teller}]}}


def test_a_step_with_an_output_file_is_over_when_the_file_was_told():
    assert state_of(by_file(ended(0), waiting("PodInitializing"))) == Running()
    assert state_of(by_file(ended(0), {"running": {}})) == Running()
    assert state_of(by_file(ended(0), ended(0))) == Exited(0, "", "")
    assert state_of(by_file(ended(2), waiting("PodInitializing"))).code == 2
    stuck = state_of(by_file(ended(0), waiting("ImagePullBackOff", "no such image")))
    assert (stuck.reason, stuck.message) == ("ImagePullBackOff", "the container that reads the output: no such image")


def test_a_job_without_a_pod_says_why():
    assert why_no_pod({}, []).reason == "Pending"
    events = [
        {"type": "Warning", "reason": "FailedCreate", "message": "exceeded quota: small", "lastTimestamp": "2"},
        {"type": "Warning", "reason": "Older", "message": "x", "lastTimestamp": "1"},
        {"type": "Normal", "reason": "Chatter", "lastTimestamp": "3"},
    ]
    assert str(why_no_pod({}, events)) == "FailedCreate: exceeded quota: small"
    over = {
        "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "m"}]}
    }
    error = taken_away(why_no_pod(over, [])).error
    assert (error.type, error.reason) == ("Timeout", "DeadlineExceeded")


def test_what_cannot_begin_says_why_and_whether_time_may_help():
    error = not_started(Waiting("ImagePullBackOff", "not found"), 600).error
    assert (error.type, error.reason, error.retriable) == ("NotStarted", "ImagePullBackOff", True)
    assert "ImagePullBackOff: not found" in error.message
    assert not not_started(Waiting("InvalidImageName", "UPPER"), 600).error.retriable


def test_a_termination_message_is_json_or_text():
    assert told_by_message("") == Succeeded()
    assert told_by_message('{"a": 1}') == Succeeded({"a": 1})
    assert told_by_message("ok\n") == Succeeded("ok")


def test_a_termination_message_that_was_cut_is_no_output():
    error = told_by_message("x" * 4096).error
    assert (error.type, error.reason) == ("TooLarge", "OutputCut")
    assert "outputFrom: file" in error.message


@given(st.binary())
def test_a_file_is_told_whole(content):
    outcome = told_by_file([b"value " + base64.b64encode(content)])
    try:
        assert outcome == Succeeded(orjson.loads(content) if content else None)
    except orjson.JSONDecodeError:
        assert outcome == Succeeded(content.decode(errors="replace").rstrip("\r\n"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"large 2000000", "TooLarge"),
        (b"unreadable not a plain file", "OutputNotReadable"),
        (b"value =cut", "OutputLost"),
        (b"Traceback", "OutputLost"),
    ],
)
def test_a_file_that_cannot_be_told_says_why(line, reason):
    outcome = told_by_file([line])
    assert isinstance(outcome, Failed)
    assert reason in (outcome.error.reason, outcome.error.type)


def test_a_log_line_has_its_time_and_its_text():
    at = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    assert split(b"2026-03-01T12:00:00.123456789Z two words ") == (at, "two words ")
    assert split(b"2026-03-01T12:00:00.123456789Z ") == (at, "")
    assert split(b"no time") == (None, "no time")
    assert split(b"2026-03-01T12:00:00.1Z \xff")[1] == "\ufffd"
