"""What is kept of durations: quantiles that are right, and paths that outlast a revision."""

from math import isclose

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.load import plan_of

from leat_engine.durations import (
    FLOOR,
    HALF,
    Expected,
    Facts,
    LogNormal,
    Sketch,
    bucket_of,
    known_paths,
    known_steps,
)
from leat_engine.spec import parse_spec

SECONDS = st.floats(FLOOR, 1e6)
SHARES = st.floats(0.01, 0.99)
SPEC = {
    "inputs": {"orders": {"type": "array", "default": []}},
    "steps": [
        {"name": "fetch", "http": {"url": "http://a.example"}, "compensate": {"http": {"url": "http://a.example"}}},
        {
            "name": "each",
            "forEach": "${ inputs.orders }",
            "http": {"url": "http://a.example"},
            "compensate": {"http": {"url": "http://a.example"}},
        },
        {
            "name": "ship",
            "steps": [
                {"name": "label", "transform": 1},
                {"name": "poll", "repeat": {"max": 3}, "steps": [{"name": "ask", "http": {"url": "http://a.example"}}]},
            ],
        },
        {
            "name": "choose",
            "switch": [
                {"when": "${ 1 > 2 }", "steps": [{"name": "ask", "approval": {}}]},
                {"default": True, "steps": [{"name": "skip", "transform": 1}]},
            ],
        },
    ],
    "finally": [{"name": "tell", "transform": 1}],
}
KNOWN = {
    "fetch.compensate": "http",
    "each[].compensate": "http",
    "finally/tell": "transform",
    "fetch": "http",
    "each": "forEach",
    "ship": "steps",
    "choose": "switch",
    "each[]": "http",
    "ship/label": "transform",
    "ship/poll": "repeat",
    "ship/poll[]/ask": "http",
    "choose[0]/ask": "approval",
    "choose[1]/skip": "transform",
}


def sketch(seconds):
    weights = {}
    for each in seconds:
        weights[bucket_of(each)] = weights.get(bucket_of(each), 0) + 1
    return Sketch(weights)


def facts(kind="http", ran=1.0, bucket=0, **counts):
    return Facts(kind, ran, took={bucket: ran}, span={bucket: ran}, **counts)


@settings(deadline=None)
@given(st.lists(SECONDS, min_size=1, max_size=60), SHARES)
def test_a_quantile_is_at_most_five_percent_off_one_of_the_durations_around_it(seconds, share):
    ordered = sorted(seconds)
    place = min(int(share * len(ordered)), len(ordered) - 1)
    near = ordered[max(place - 1, 0) : place + 2]
    found = sketch(seconds).quantile(share)
    assert any(abs(found - each) <= 0.05 * each + FLOOR for each in near)


@settings(deadline=None)
@given(st.lists(SECONDS, min_size=1, max_size=60), SHARES, SHARES)
def test_quantiles_ascend_and_are_undone_by_the_share(seconds, one, other):
    found = sketch(seconds)
    low, high = sorted((one, other))
    assert found.quantile(low) <= found.quantile(high)
    assert found.share_within(found.quantile(low)) >= low - 1e-9


@settings(deadline=None)
@given(st.lists(SECONDS, min_size=1), st.lists(SECONDS, min_size=1))
def test_what_is_learned_at_once_is_what_is_learned_bit_by_bit_but_for_what_fades(one, other):
    first = Facts("http", len(one), took=sketch(one).weights)
    second = Facts("http", len(other), took=sketch(other).weights)
    both = second.after(first)
    left = 0.5 ** (len(other) / HALF)
    assert isclose(both.ran, len(other) + left * len(one))
    assert sum(both.took.values()) <= both.ran + 1e-9


def test_after_a_hundred_more_ends_what_was_before_counts_half():
    slow, fast = facts(ran=50.0, bucket=60), facts(ran=HALF, bucket=10)
    assert fast.after(slow).took == {60: 25.0, 10: HALF}


def test_a_step_that_gets_another_kind_begins_anew():
    new = facts("script")
    assert new.after(facts("http", ran=50.0)) == new


def test_facts_come_back_from_the_store_as_they_went():
    known = Facts("switch", 3.0, 1.0, 0.5, 4.25, 3.0, {0: 2.0, 1: 1.0}, {4: 3.0}, {5: 2.5, 9: 0.5})
    assert Facts.of("switch", known.as_json()) == known


def test_what_is_expected_is_what_was():
    known = Facts("forEach", 3.0, 1.0, 1.0, 4.0, 12.0, span={7: 3.0})
    assert known.expected() == Expected(None, Sketch({7: 3.0}), 0.25, 0.5, 4.0, {})


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
def test_a_lognormal_is_given_by_two_of_its_quantiles(share):
    spread = LogNormal(2.0, 10.0)
    assert isclose(spread.share_within(spread.quantile(share)), share)
    assert isclose(spread.quantile(0.5), 2.0)
    assert isclose(spread.quantile(0.9), 10.0)


def test_every_step_has_a_path_that_says_where_it_is():
    known = known_steps(parse_spec(SPEC))
    assert {step.path: step.kind for step in known.values()} == KNOWN


def test_the_paths_of_a_plan_are_those_of_its_spec():
    known = known_steps(parse_spec(SPEC))
    assert known_paths(plan_of(SPEC)) == {node: step.path for node, step in known.items()}
