"""Limits and the cache in runs that are played: time is skipped, and what a runner's gates say holds."""

import asyncio
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.rehearsal import rehearsed

from leat_cli.rehearsal.cast import Unwatched
from leat_cli.testing import error, output, run
from leat_engine.restraint import CACHED
from leat_engine.result import ErrorType, Failed, State, StepError, Succeeded

BROKEN = error("HttpStatus", status=503)


def call(name="call", **more):
    return {"name": name, "http": {"url": "http://x"}, **more}


def retry(most, every="10s"):
    return {"max": most, "backoff": {"initial": every, "factor": 1, "jitter": "none"}}


class Watching(Unwatched):
    """Steps take the seconds that are said for them, one after the other; it sees who is at work."""

    def __init__(self, takes, fails=()):
        self.takes, self.fails = list(takes), set(fails)
        self.began, self.most, self.working, self.order = [], 0, 0, []

    async def answer(self, call):
        number = len(self.began)
        self.began.append((call.now.timestamp(), call.address))
        self.order.append(call.address)
        self.working += 1
        self.most = max(self.most, self.working)
        try:
            await asyncio.sleep(self.takes[number % len(self.takes)])
        finally:
            self.working -= 1
        if number in self.fails:
            return Failed(StepError("Broken", "it is"))
        return Succeeded(number)


# -- concurrency ------------------------------------------------------------------------------------------------------


def test_items_under_a_mutex_go_one_after_the_other_in_order():
    each = call(forEach=[1, 2, 3, 4], concurrency={"key": "door"})
    cast = Watching([5])
    score = rehearsed({"steps": [each]}, cast)
    assert (score.label, score.seconds, cast.most) == ("Succeeded", 20, 1)
    assert cast.order == [f"call[{index}]" for index in range(4)]


def test_keys_hold_back_those_that_share_them():
    each = call(forEach=["a", "b", "a", "b"], concurrency={"key": "${ item }"})
    assert run({"steps": [each]}, fakes={"call": output(takes=5)}).seconds == 10


def test_who_is_rejected_fails_and_says_so():
    each = call(forEach=[1, 2], concurrency={"key": "door", "onConflict": "reject"})
    result = run({"steps": [each]}, fakes={"call": output(takes=5)})
    assert (result.phase, result.step("call[1]").error["type"]) == ("Failed", "Busy")


def test_a_wait_keeps_its_slot_and_ends_in_time():
    nap = {"name": "nap", "forEach": [1, 2], "wait": {"duration": "1h"}, "concurrency": {"key": "bed"}}
    assert run({"steps": [nap]}).seconds == 7200


def test_a_slot_is_free_for_what_cleans_up():
    nap = {"name": "nap", "wait": {"duration": "1h"}, "concurrency": {"key": "bed"}}
    spec = {"steps": [nap, call("fails")], "finally": [call("last", concurrency={"key": "bed"})]}
    result = run(spec, fakes={"fails": error("X", takes=5, retriable=False), "last": output()})
    assert (result.phase, result.seconds, result.step("last").state) == ("Failed", 5, State.SUCCEEDED)


@settings(max_examples=60, deadline=None)
@given(
    items=st.integers(1, 12),
    limit=st.integers(1, 4),
    takes=st.lists(st.integers(0, 30), min_size=1, max_size=5),
    fails=st.sets(st.integers(0, 30), max_size=8),
    more=st.sampled_from([{}, {"rateLimit": {"rate": 3, "per": "10s", "key": "r"}}]),
    timeout=st.sampled_from([{}, {"timeout": "40s"}]),
)
def test_never_more_hold_a_slot_than_there_are_and_nobody_waits_for_ever(*, items, limit, takes, fails, more, timeout):
    slots = {"key": "k", "limit": limit}
    each = call(forEach=list(range(items)), concurrency=slots, retry=retry(2, "3s"), timeout="20s", **more)
    cast = Watching(takes, fails)
    score = rehearsed({"steps": [each], **timeout}, cast)
    assert cast.most <= limit
    assert score.label in {"Succeeded", "Failed"}
    assert score.problems == []
    assert all(course.state is not None for course in score.courses.values() if course.node.opens is None)


# -- rateLimit --------------------------------------------------------------------------------------------------------


def test_a_rate_passes_in_skipped_time_and_nothing_fails():
    each = call(forEach=list(range(9)), rateLimit={"rate": 1, "per": "1m", "burst": 3})
    cast = Watching([0])
    score = rehearsed({"steps": [each]}, cast)
    assert (score.label, score.seconds) == ("Succeeded", 6 * 60)
    assert len(cast.began) == 9


@settings(max_examples=60, deadline=None)
@given(
    items=st.integers(1, 15),
    rate=st.integers(1, 7),
    per=st.sampled_from(["1s", "10s", "1m", "1h"]),
    burst=st.integers(1, 4),
    takes=st.lists(st.sampled_from([0, 0.3, 1, 7]), min_size=1, max_size=3),
)
def test_there_are_never_more_starts_than_a_rate_allows(items, rate, per, burst, takes):
    each = call(forEach=list(range(items)), rateLimit={"rate": rate, "per": per, "burst": burst})
    cast = Watching(takes)
    score = rehearsed({"steps": [each]}, cast)
    assert score.label == "Succeeded"
    interval = {"1s": 1, "10s": 10, "1m": 60, "1h": 3600}[per] / rate
    starts = [at for at, _ in cast.began]
    for first, start in enumerate(starts):
        for more, later in enumerate(starts[first:], 1):
            assert more <= burst + (later - start) / interval + 1e-3


# -- breaker ----------------------------------------------------------------------------------------------------------


def test_a_breaker_opens_and_later_attempts_wait_until_it_has_cooled_down():
    step = call(retry=retry(5, "1s"), breaker={"key": "x", "failures": 2, "coolDown": "1m"})
    result = run({"steps": [step]}, fakes={"call": [BROKEN, BROKEN, output("well")]})
    told = [(found["type"], found["details"].get("retryAfter")) for found in result.step("call").errors]
    assert told == [("HttpStatus", None), ("HttpStatus", None), (ErrorType.BREAKER_OPEN, 59.0)]
    assert (result.phase, result.seconds, result.step("call").output) == ("Succeeded", 61, "well")


def test_a_probe_that_fails_opens_the_breaker_again():
    step = call(retry=retry(6, "1s"), breaker={"key": "x", "failures": 2, "coolDown": "1m"})
    result = run({"steps": [step]}, fakes={"call": [BROKEN, BROKEN, BROKEN, output("well")]})
    assert [found["type"] for found in result.step("call").errors] == [
        "HttpStatus", "HttpStatus", "BreakerOpen", "HttpStatus", "BreakerOpen",
    ]  # fmt: skip
    assert (result.phase, result.seconds) == ("Succeeded", 1 + 60 + 60)


def test_failures_of_one_step_hold_another_one_back_that_has_the_same_key():
    held = {"key": "shop", "failures": 1, "coolDown": "1m"}
    spec = {"steps": [call("a", breaker=held), call("b", needs=[{"step": "a", "on": ["Failed"]}], breaker=held)]}
    result = run(spec, fakes={"a": BROKEN, "b": output("never")})
    assert (result.phase, result.step("b").error["type"]) == ("Failed", "BreakerOpen")


def test_failures_that_another_try_would_not_help_do_not_open_a_breaker():
    held = {"key": "shop", "failures": 1, "coolDown": "1m"}
    spec = {"steps": [call("a", breaker=held), call("b", needs=[{"step": "a", "on": ["Failed"]}], breaker=held)]}
    assert run(spec, fakes={"a": error("HttpStatus", status=404), "b": output("well")}).phase == "Succeeded"


# -- cache ------------------------------------------------------------------------------------------------------------


def looks(delay, times, ttl="1h"):
    body = [call("look", cache={"key": "rates", "ttl": ttl})]
    return {"steps": [{"name": "loop", "repeat": {"max": times, "delay": delay}, "steps": body}]}


def test_a_cached_step_is_executed_once_within_the_time_to_live_and_again_after_it():
    result = run(looks("40m", 4), fakes={"look": [output("old"), output("new")]})
    found = [result.step(f"loop[{index}]/look") for index in range(4)]
    assert [each.output for each in found] == ["old", "old", "new", "new"]
    assert [each.cached for each in found] == [False, True, False, True]
    assert found[1].note == CACHED


@settings(max_examples=60, deadline=None)
@given(delay=st.integers(1, 50), times=st.integers(2, 12), ttl=st.integers(1, 120))
def test_results_are_as_old_as_the_cache_allows_and_no_older(delay, times, ttl):
    cast = Watching([0])
    score = rehearsed(looks(f"{delay}m", times, f"{ttl}m"), cast)
    began = [at / 60 for at, _ in cast.began]
    outputs = [score.courses[f"loop[{index}]/look"].output for index in range(times)]
    start = began[0]
    for index, made in enumerate(outputs):
        age = start + index * delay - began[made]
        assert 0 <= age < ttl
    assert all(later - earlier >= ttl for earlier, later in itertools.pairwise(began))


def test_different_keys_have_results_of_their_own():
    each = call(forEach=["eur", "usd", "eur"], maxParallel=1, cache={"key": "${ item }", "ttl": "1h"})
    cast = Watching([1])
    score = rehearsed({"steps": [each]}, cast)
    assert [score.courses[f"call[{index}]"].output for index in range(3)] == [0, 1, 0]


# -- runs -------------------------------------------------------------------------------------------------------------


def test_a_run_has_a_slot_of_its_own_and_all_its_steps_may_go_on():
    spec = {"concurrency": {"key": "one"}, "steps": [call("a"), call("b"), call("c", needs=["a"])]}
    fakes = {"a": output(takes=1), "b": output(takes=5), "c": output(takes=1)}
    assert run(spec, fakes=fakes).seconds == 5
