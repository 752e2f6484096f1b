"""Who asks by the read API, and what is shown, without a cluster."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from leat_cli.readapi import durations_of, outlook_of
from leat_cli.snapshot import Outlook
from leat_engine.durations import Facts
from leat_engine.estimate import Estimate, Part
from leat_engine.job import StepKey
from leat_engine.kin import ChildRecord
from leat_engine.lines import LogLine
from leat_engine.plan import compile_plan
from leat_engine.pools import Announced, Backlog, Member
from leat_engine.records import AttemptRecord, RunRecord, ShownAttempt, ShownStep, StepRecord
from leat_engine.result import Phase, State
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models
from leat_engine.store.durations import WorkflowKey
from leat_operator.serving import views
from leat_operator.serving.caller import Caller, FrontProxy
from leat_operator.serving.views import Page, pool_loads, run_log, run_steps, step_durations

RUN = UUID("01958f4e-0000-7000-8000-000000000000")
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROXY = FrontProxy(authority="PEM", names=("front-proxy-client",))
CERTIFICATE = {"subject": ((("organizationName", "x"),), (("commonName", "front-proxy-client"),))}
HEADERS = [
    ("X-Remote-User", "ann"),
    ("X-Remote-Group", "fraud"),
    ("X-Remote-Group", "system:authenticated"),
    ("X-Remote-Extra-Acme.com%2FScope", "all"),
]


def headers(*pairs):
    return CIMultiDictProxy(CIMultiDict(pairs))


def test_the_api_server_names_the_caller():
    found = PROXY.caller(CERTIFICATE, headers(*HEADERS))
    assert found == Caller("ann", "", ("fraud", "system:authenticated"), (("acme.com/scope", ("all",)),))
    assert found.spec() == {
        "user": "ann",
        "groups": ["fraud", "system:authenticated"],
        "extra": {"acme.com/scope": ["all"]},
    }


@pytest.mark.parametrize(
    ("proxy", "certificate", "pairs"),
    [
        (PROXY, None, HEADERS),
        (PROXY, {}, HEADERS),
        (PROXY, {"subject": ((("commonName", "somebody"),),)}, HEADERS),
        (PROXY, {"subject": ((("organizationName", "front-proxy-client"),),)}, HEADERS),
        (PROXY, CERTIFICATE, HEADERS[1:]),
        (PROXY, CERTIFICATE, [("X-Remote-User", "")]),
        (FrontProxy(), CERTIFICATE, HEADERS),
    ],
)
def test_nobody_else_is_believed(proxy, certificate, pairs):
    assert proxy.caller(certificate, headers(*pairs)) is None


def test_the_cluster_says_what_its_headers_are_called():
    found = FrontProxy.of(
        {
            "requestheader-client-ca-file": "PEM",
            "requestheader-allowed-names": "[]",
            "requestheader-username-headers": '["X-Who"]',
            "requestheader-group-headers": '["X-Team"]',
        }
    )
    assert found.caller({"subject": ()}, headers(("x-who", "ann"), ("X-Team", "a"), ("X-Remote-User", "root"))) == (
        Caller("ann", "", ("a",), ())
    )


def plan_of(*steps, **spec):
    return compile_plan(parse_spec({"steps": list(steps), **spec}), load_models(), "revision")


def run(**values):
    known = {
        "run_id": RUN,
        "namespace": "shop",
        "name": "run",
        "workflow": "order",
        "revision": "revision",
        "uid": "uid",
        "generation": 1,
        "phase": Phase.RUNNING,
        "suspended": False,
        "stopping": None,
        "inputs": {},
        "output": None,
        "error": None,
        "priority": 0,
        "total": 2,
        "live": 1,
        "succeeded": 1,
        "failed": 0,
        "skipped": 0,
        "started_at": AT,
        "finished_at": None,
    }
    return RunRecord(**{**known, **values})


def shown(node, state=State.SUCCEEDED, output=None, error=None, size=None):
    record = StepRecord(StepKey(RUN, 0, node), state, 1, output, error, 7, AT, AT, None)
    return ShownStep(record, "runner-a", len(json.dumps(output)) if size is None else size)


def page(plan, *steps, first=1, last=None, attempts=()):
    return Page(range(first, (last or plan.total) + 1), steps, attempts)


PLAN = plan_of(
    {"name": "reserve", "transform": "x"},
    {"name": "charge", "needs": ["reserve"], "transform": "y", "pool": "big"},
    inputs={"card": {"type": "string", "sensitive": True, "default": "4711-0815"}},
)


def test_steps_stand_in_the_order_of_the_spec_those_without_a_row_included():
    first, second = run_steps(run(), PLAN, page(PLAN, shown(1, output={"a": 1})))["steps"]
    assert (first["name"], first["state"], first["output"], first["runner"]) == (
        "reserve",
        "Succeeded",
        {"a": 1},
        "runner-a",
    )
    assert (second["name"], second["state"], second["needs"], second["pool"], second["attempt"]) == (
        "charge",
        "Pending",
        ["reserve"],
        "big",
        0,
    )
    assert set(first) == set(second)


def test_what_is_to_be_expected_of_a_run_is_read_as_it_is_told():
    parts = (Part("reserve", 0.25), Part("charge", 0.75))
    known = Estimate(AT + timedelta(seconds=5), AT + timedelta(seconds=9), parts)
    told = run_steps(run(), PLAN, replace(page(PLAN, shown(1)), estimate=known))
    assert outlook_of(told) == Outlook(known.finish, known.late, (("reserve", 0.25), ("charge", 0.75)))
    unknown = run_steps(run(), PLAN, replace(page(PLAN), estimate=Estimate(None, None, (), ("charge",), ("review",))))
    assert outlook_of(unknown) == Outlook(unknown=("charge",), people=("review",))
    assert outlook_of(run_steps(run(), PLAN, page(PLAN))) is None


def test_what_is_known_of_steps_is_read_as_it_is_told():
    known = {"pay": Facts("http", 2.0, took={20: 2.0}), "each[]": Facts("script", 1.5, 0.5, span={3: 1.5})}
    assert durations_of(step_durations(WorkflowKey("shop", "order"), known)) == known


def test_nothing_sensitive_is_shown_wherever_it_went():
    card = "4711-0815"
    error = {"type": "Fail", "reason": card, "message": f"card {card} refused", "details": {"card": card}}
    attempt = ShownAttempt(AttemptRecord(StepKey(RUN, 0, 2), 1, 7, error, AT, AT, AT), "runner-a")
    answer = run_steps(
        run(inputs={"card": card}, error=error, stopping=Phase.FAILED),
        PLAN,
        page(PLAN, shown(1, output=[card, {card: 1}]), shown(2, State.FAILED, error=error), attempts=[attempt]),
    )
    assert card not in json.dumps(answer)
    assert answer["steps"][1]["attempts"][0]["error"]["message"] == "card [redacted] refused"


def test_a_large_output_is_told_by_its_size():
    (step, _) = run_steps(run(), PLAN, page(PLAN, shown(1, size=70_000)))["steps"]
    assert step["output"] == {"truncated": True, "bytes": 70_000}


def test_pages_follow_each_other_until_every_step_was_there():
    plan = plan_of(*({"name": f"s{number}", "transform": "x"} for number in range(1, 8)))
    names, after = [], 0
    while True:
        answer = run_steps(run(), plan, page(plan, first=after + 1, last=min(after + 3, 7)))
        names += [step["name"] for step in answer["steps"]]
        if "continue" not in answer["metadata"]:
            break
        after = int(answer["metadata"]["continue"])
    assert names == [f"s{number}" for number in range(1, 8)]


def test_a_page_ends_where_it_is_large_enough():
    plan = plan_of(*({"name": f"s{number}", "transform": "x"} for number in range(1, 501)))
    large = {"text": "x" * (views.OUTPUT_BYTES - 20)}
    answer = run_steps(run(), plan, page(plan, *(shown(node, output=large) for node in range(1, 501))))
    assert len(json.dumps(answer)) < 1.1 * views.PAGE_BYTES
    assert answer["metadata"]["continue"] == str(len(answer["steps"]))


def test_what_a_running_step_waits_for_is_shown_with_nothing_sensitive():
    record = StepRecord(StepKey(RUN, 0, 1), State.CLAIMED, 1, None, None, 7, AT, AT, None, "pulling 4711-0815")
    answer = run_steps(run(inputs={"card": "4711-0815"}), PLAN, page(PLAN, ShownStep(record, "runner-a", 0)))
    assert answer["steps"][0]["note"] == "pulling [redacted]"
    assert answer["steps"][1]["note"] is None


def line(seq, text, node=1):
    return LogLine(seq, AT, 0, node, 1, "stdout", text)


def test_lines_are_shown_behind_each_other_with_nothing_sensitive():
    lines = [line(7, "paid by 4711-0815"), line(9, "done", node=2)]
    answer = run_log(run(inputs={"card": "4711-0815"}), PLAN, lines, 3, finished=True)
    assert [(each["seq"], each["step"], each["text"]) for each in answer["lines"]] == [
        (7, "reserve", "paid by [redacted]"),
        (9, "charge", "done"),
    ]
    assert (answer["after"], answer["finished"]) == (9, True)


def test_who_asks_behind_the_last_line_is_told_to_ask_there_again():
    answer = run_log(run(), PLAN, [], 9, finished=False)
    assert (answer["lines"], answer["after"], answer["finished"]) == ([], 9, False)


def test_a_page_of_lines_ends_where_it_is_large_enough_and_the_next_goes_on_there():
    lines = [line(seq, "x" * 16_000) for seq in range(1, 201)]
    answer = run_log(run(), PLAN, lines, 0, finished=True)
    assert len(json.dumps(answer)) < 1.2 * views.PAGE_BYTES
    assert answer["after"] == len(answer["lines"]) < 200
    assert not answer["finished"]


def test_a_pool_is_the_sum_of_its_runners_and_of_what_waits():
    members = [Member("a", "default", 10, 3, False, AT, None), Member("b", "default", 10, 4, False, AT, 2.0)]
    announced = {
        "default": Announced("default", "", frozenset({"http", "function"}), frozenset({"add"}), 10, AT),
        "resting": Announced("resting", "", frozenset({"http"}), frozenset(), 10, AT),
    }
    answer = pool_loads(members, {"default": Backlog(5, 1.5), "empty": Backlog(2, 9.0)}, announced)
    default, empty, resting = answer["items"]
    assert (default["runners"], default["slots"], default["busy"], default["backlog"]) == (2, 20, 7, 5)
    assert (default["kinds"], default["functions"]) == (["function", "http"], ["add"])
    assert [member["name"] for member in default["members"]] == ["a", "b"]
    assert (empty["name"], empty["runners"], empty["backlog"], empty["oldestReadySeconds"]) == ("empty", 0, 2, 9.0)
    assert (empty["kinds"], empty["functions"]) == ([], [])
    assert (resting["name"], resting["runners"], resting["kinds"]) == ("resting", 0, ["http"])


# -- child runs ---------------------------------------------------------------------------------------------------


def a_child(number, parent, step=1, phase=Phase.SUCCEEDED):
    return ChildRecord(UUID(int=number), parent, step, f"child-{number}", "pack", phase, 1, 2, AT, None)


def test_children_are_below_the_steps_that_started_them_and_a_child_names_its_parent():
    children = [a_child(1, RUN, step=2, phase=Phase.FAILED), a_child(2, UUID(int=1)), a_child(3, RUN, step=0)]
    answer = run_steps(run(parent="above"), PLAN, Page(range(1, 3), [], [], children=children))
    assert answer["run"]["parent"] == "above"
    assert [each["name"] for each in answer["run"]["children"]] == ["child-3"]
    assert answer["steps"][0]["children"] == []
    (child,) = answer["steps"][1]["children"]
    assert (child["name"], child["phase"], child["workflow"], child["progress"]) == ("child-1", "Failed", "pack", "1/2")
    assert [each["name"] for each in child["children"]] == ["child-2"]


def test_what_is_sensitive_in_other_runs_is_not_shown_either():
    answer = run_steps(run(hidden=("t0ken-of-a-child",)), PLAN, page(PLAN, shown(1, output="by t0ken-of-a-child")))
    assert answer["steps"][0]["output"] == "by [redacted]"
