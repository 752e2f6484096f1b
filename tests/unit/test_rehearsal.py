"""Runs played in memory: time, ends before their time, what is told from outside, and what cannot be played."""

import pytest
from tests.support.rehearsal import START, Functions, rehearsed

from leat_cli.rehearsal.cast import Unwatched
from leat_cli.rehearsal.scene import Cue
from leat_cli.testing import NotPlayed, approve, error, output, reject, run, signal
from leat_engine.errors import Rejected
from leat_engine.result import State, Succeeded

CALL = {"name": "call", "function": {"name": "add"}}


def http(name, **more):
    return {"name": name, "http": {"url": "http://x"}, **more}


class Answering(Unwatched):
    """Gives what is said, by the names of steps."""

    def __init__(self, **outputs):
        self.outputs = outputs

    async def answer(self, call):
        return Succeeded(self.outputs[call.name]) if call.name in self.outputs else None


# -- time -------------------------------------------------------------------------------------------------------------


def test_waits_cost_nothing_and_now_has_moved_on_behind_them():
    day = {"name": "day", "needs": ["night"], "transform": "${ now }"}
    spec = {"steps": [{"name": "night", "wait": {"duration": "12h"}}, day], "output": "${ steps.day.output }"}
    result = run(spec)
    assert (result.output, result.seconds) == ("2026-01-01T12:00:00Z", 12 * 3600)


def test_a_wait_until_a_time_ends_then():
    result = run({"steps": [{"name": "wait", "wait": {"until": "${ now + duration('36h') }"}}]})
    assert result.seconds == 36 * 3600


def test_steps_that_take_time_do_so_beside_one_another():
    spec = {"steps": [http("a"), http("b"), http("c", needs=["a", "b"])]}
    result = run(spec, fakes={"a": output(takes=30), "b": output(takes=50), "c": output(takes=7)})
    assert (result.seconds, result.step("c").begun) == (57, 50)


def test_an_attempt_that_takes_longer_than_its_timeout_is_cut_off_and_tried_again():
    spec = {"steps": [http("a", timeout="10s", retry={"max": 1, "backoff": {"initial": "4s", "jitter": "none"}})]}
    result = run(spec, fakes={"a": [output(takes=60), output("late", takes=3)]})
    assert (result.phase, result.step("a").output, result.seconds) == ("Succeeded", "late", 17)
    assert [found["type"] for found in result.step("a").errors] == ["Timeout"]


def test_a_deadline_holds_over_all_attempts():
    retry = {"max": 9, "backoff": {"initial": "4s", "factor": 1, "jitter": "none"}}
    result = run({"steps": [http("a", deadline="10s", retry=retry)]}, fakes={"a": error("X", takes=3)})
    assert (result.phase, result.step("a").attempts, result.seconds) == ("Failed", 2, 10)


def test_a_deadline_is_told_as_it_is_written_however_little_of_it_was_left():
    retry = {"max": 9, "backoff": {"initial": "4s", "factor": 1, "jitter": "none"}}
    slow = [error("X", takes=3), output(takes=60)]
    result = run({"steps": [http("a", deadline="10s", retry=retry)]}, fakes={"a": slow})
    assert (result.seconds, result.error["message"]) == (10, "step a failed: deadline of 10 s passed")


def test_the_timeout_of_the_run_ends_what_is_under_way():
    nap = {"name": "nap", "wait": {"duration": "2h"}}
    spec = {"timeout": "1h", "steps": [http("slow"), nap, http("after", needs=["nap"])]}
    result = run(spec, fakes={"slow": output(takes=9_999), "after": output()})
    assert (result.phase, result.error["reason"], result.seconds) == ("Failed", "RunTimeout", 3600)
    assert result.step("slow").state is result.step("nap").state is State.CANCELLED


def test_a_cancelled_run_ends_at_once():
    score = rehearsed({"steps": [{"name": "nap", "wait": {"duration": "2h"}}]}, cues=[Cue(60.0, None)])
    assert (score.label, score.seconds) == ("Cancelled", 60)


@pytest.mark.parametrize("early", [{"timeout": "1h"}, {}])
def test_a_run_that_ends_before_its_time_undoes_what_it_did_and_does_what_is_final(early):
    nap = {"name": "nap", "needs": ["a"], "wait": {"duration": "2h"}, "compensate": {"transform": 1}}
    undo = {"wait": {"duration": "5h"}}
    spec = {
        **early,
        "steps": [http("a", compensate=undo), nap],
        "finally": [{"name": "last", "transform": "${ run.phase }"}],
    }
    score = rehearsed(spec, Answering(a=1), cues=[] if early else [Cue(3600.0, None)])
    assert score.path == ["a", "a.compensate", "last"]
    phase = "Failed" if early else "Cancelled"
    assert (score.label, score.courses["last"].output, score.seconds) == (phase, phase, 6 * 3600)


def test_what_runs_when_a_run_fails_goes_on_to_its_end_and_nothing_begins():
    spec = {"steps": [http("bad"), http("slow"), http("next", needs=["slow"])]}
    result = run(spec, fakes={"bad": error("Boom"), "slow": output(takes=5), "next": output()})
    assert (result.phase, result.path, result.seconds) == ("Failed", ["bad", "slow"], 5)


def test_many_items_are_done_so_many_at_a_time():
    spec = {"steps": [{"name": "each", "forEach": list(range(10)), "maxParallel": 5, "http": {"url": "http://x"}}]}
    result = run(spec, fakes={"each": output(1, takes=2)})
    assert (result.step("each").output, result.seconds) == ([1] * 10, 4)


# -- answers ----------------------------------------------------------------------------------------------------------


def test_a_list_of_answers_begins_anew_for_each_item_and_goes_on_over_iterations():
    steps = [
        {"name": "item", "forEach": [1, 2], "http": {"url": "http://x"}, "retry": {"max": 1}},
        {"name": "poll", "repeat": {"until": "${ last == 'done' }", "max": 9}, "http": {"url": "http://x"}},
    ]
    fakes = {"item": [error("X"), output("ok")], "poll": [output("wait"), output("wait"), output("done")]}
    result = run({"steps": steps}, fakes=fakes)
    assert result.step("item").output == ["ok", "ok"]
    assert (result.step("item[1]").attempts, result.step("poll").output) == (2, "done")
    assert result.step("poll[2]").ran


def test_an_item_may_have_an_answer_of_its_own_and_a_step_of_a_body_too():
    body = [http("pack"), {"name": "label", "transform": "${ steps.pack.output }"}]
    spec = {"steps": [{"name": "ship", "forEach": ["a", "b"], "steps": body, "output": "${ steps.label.output }"}]}
    result = run(spec, fakes={"pack": output("box"), "ship[1]/pack": output("crate")})
    assert result.step("ship").output == ["box", "crate"]


def test_an_answer_may_be_a_function_of_what_the_step_is_given():
    spec = {"inputs": {"n": {}}, "steps": [{"name": "call", "function": {"name": "f", "with": {"n": "${ inputs.n }"}}}]}
    result = run(spec, {"n": 4}, {"call": lambda call: call.fields["with"]["n"] * 10})
    assert result.step("call").output == 40


def test_what_a_function_of_a_test_raises_is_raised_by_the_run():
    def check(call):
        assert call.fields["url"] == "http://y"

    with pytest.raises(AssertionError, match="http://y"):
        run({"steps": [http("a")]}, fakes={"a": check})


@pytest.mark.parametrize(("status", "attempts"), [(503, 3), (429, 3), (404, 1)])
def test_http_statuses_are_tried_again_as_real_ones_are(status, attempts):
    spec = {"steps": [http("a", retry={"max": 2})]}
    assert run(spec, fakes={"a": error("HttpStatus", status=status)}).step("a").attempts == attempts


def test_fields_that_a_kind_does_not_take_fail_the_step_though_it_is_not_executed():
    spec = {"inputs": {"url": {}}, "steps": [{"name": "a", "http": {"url": "${ inputs.url }"}}]}
    result = run(spec, {"url": 7}, {"a": output()})
    assert (result.phase, result.error["type"]) == ("Failed", "Invalid")


def test_a_step_with_effects_and_no_answer_is_not_executed():
    with pytest.raises(NotPlayed, match="step a of kind http was to be executed, and has effects: say what it gives"):
        run({"steps": [http("a")]})


def test_answers_for_what_can_have_none_are_refused_all_at_once():
    steps = [{"name": "t", "transform": 1}, {"name": "group", "steps": [http("inner")]}]
    with pytest.raises(Rejected) as caught:
        run({"steps": steps}, fakes={"t": output(), "group": output(), "iner": output()})
    assert [str(reason) for reason in caught.value.reasons] == [
        "fakes.t: is a transform, which has no effects and is evaluated as it stands: leave it out",
        "fakes.group: opens a body, and does nothing itself: say what its steps give (inner)",
        "fakes.iner: there is no step 'iner'; did you mean 'inner'?",
    ]


def test_secrets_are_made_up_and_shown_nowhere():
    headers = {"A": "Bearer ${ secret('pay', 'token') }"}
    spec = {"steps": [{"name": "a", "http": {"url": "http://x", "headers": headers}}]}
    made_up = run(spec, fakes={"a": lambda call: call.fields["headers"]})
    assert made_up.step("a").fields["headers"] == {"A": "Bearer ***"}
    given = run(spec, fakes={"a": output("hush-hush")}, secrets={"pay": {"token": "hush-hush"}})
    assert given.step("a").output == "***"


# -- from outside -----------------------------------------------------------------------------------------------------

APPROVAL = {"name": "ok", "approval": {"groups": ["bosses"], "minimum": 2, "timeout": "24h"}}


def test_votes_are_counted_and_time_passes_between_them():
    told = [approve("ok", by="ada", groups=["bosses"], after=60), approve("ok", by="bob", groups=["bosses"], after=90)]
    result = run({"steps": [APPROVAL]}, told=told)
    assert (result.step("ok").output["by"], result.seconds) == (["ada", "bob"], 90)


def test_a_vote_without_a_time_comes_when_somebody_waits_for_it():
    spec = {"steps": [{"name": "nap", "wait": {"duration": "3h"}}, {**APPROVAL, "needs": ["nap"]}]}
    result = run(spec, told=[reject(by="eve", groups=["bosses"])])
    assert (result.error["type"], result.seconds) == ("Rejected", 3 * 3600)


def test_a_vote_of_somebody_who_may_not_is_told():
    with pytest.raises(NotPlayed, match="eve may not decide about 'ok': members of bosses may"):
        run({"steps": [APPROVAL]}, told=[approve("ok", by="eve")])


def test_a_signal_that_comes_before_the_wait_is_kept_for_it():
    nap = {"name": "nap", "wait": {"duration": "3h"}}
    spec = {"steps": [nap, {"name": "s", "needs": ["nap"], "signal": {"name": "paid"}}]}
    result = run(spec, told=[signal("paid", 5, after=60)])
    assert (result.step("s").output["payload"], result.seconds) == (5, 3 * 3600)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (approve("nobody"), "nobody waited for what is told of 'nobody': mend the name, or leave it out"),
        (signal("late", after=7200), "the run was over before what is told of 'late' came, 2h after its beginning"),
    ],
)
def test_what_nobody_hears_is_told(told, message):
    with pytest.raises(NotPlayed, match=message):
        run({"steps": [{"name": "nap", "wait": {"duration": "1h"}}]}, told=[told])


def test_two_steps_that_wait_for_one_signal_get_it_one_after_the_other():
    spec = {"steps": [{"name": name, "signal": {"name": "paid"}} for name in "ab"]}
    result = run(spec, told=[signal("paid", 1, after=5), signal("paid", 2, after=9)])
    assert sorted(result.step(name).output["payload"] for name in "ab") == [1, 2]


def test_nobody_answers_before_the_timeout():
    assert run({"steps": [APPROVAL]}).seconds == 24 * 3600


def test_a_run_that_waits_for_ever_is_told_to_be_running():
    score = rehearsed({"steps": [{"name": "s", "signal": {"name": "paid"}}]})
    assert (score.label, score.waits) == ("Running", ["s waits for signal 'paid'"])


async def test_a_run_is_played_where_a_loop_runs_already():
    assert run({"steps": [{"name": "t", "transform": 1}]}).phase == "Succeeded"


def test_a_key_of_a_limit_that_has_no_value_is_told():
    spec = {"steps": [{**CALL, "concurrency": {"key": "${ [''][0] }", "limit": 1}}]}
    score = rehearsed(spec, Functions())
    assert (score.label, score.error["type"]) == ("Failed", "Expression")


def test_the_clock_begins_when_the_test_says():
    spec = {"steps": [{"name": "t", "transform": "${ now }"}], "output": "${ steps.t.output }"}
    assert run(spec, now=START.replace(year=2030)).output == "2030-01-01T00:00:00Z"
