"""What quotas allow: by laws, on any of them; and what the operator makes of RunQuotas."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from leat_engine.quota import NOTHING_SAID, Allowance, Use, room, together
from leat_engine.store.quotas import Usage
from leat_operator.quotas import changes, quota_status, read

WORD = st.none() | st.integers(0, 1000)
ALLOWANCES = st.builds(Allowance, WORD, WORD, WORD)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@given(st.lists(ALLOWANCES, max_size=5))
def test_of_several_quotas_all_hold(quotas):
    for word in ("active_runs", "starts_per_minute", "steps"):
        least = getattr(together(quotas), word)
        said = [getattr(quota, word) for quota in quotas if getattr(quota, word) is not None]
        assert least == (min(said) if said else None)


@given(ALLOWANCES, st.integers(0, 2000), st.integers(1, 500))
def test_no_more_runs_begin_than_there_is_room_for(allowed, active, most):
    found = room(allowed, Use(active, 0, 0.0, 1e9), most)
    assert 0 <= found.starts <= most
    if allowed.active_runs is not None:
        assert found.starts <= max(0, allowed.active_runs - active)
    if allowed.starts_per_minute is not None:
        assert found.starts <= allowed.burst


@given(st.integers(1, 6000), st.lists(st.floats(0, 20), min_size=1, max_size=60))
def test_in_any_time_no_more_runs_begin_than_the_bucket_gives(per_minute, pauses):
    """Everybody who waits is let in as soon as somebody looks, at any times."""
    allowed, now, spent = Allowance(starts_per_minute=per_minute), 1_800_000_000.0, 0.0
    starts: list[tuple[float, int]] = []
    for pause in pauses:
        now += pause
        begun = room(allowed, Use(0, 0, spent, now), 500).starts
        spent = max(spent, now) + begun * allowed.interval  # as `admit` writes it
        starts.append((now, begun))
    for index, (first, _) in enumerate(starts):
        total = 0
        for last, count in starts[index:]:
            total += count
            assert total <= allowed.burst + (last - first) / allowed.interval + 1e-3


@given(st.integers(1, 6000))
def test_who_looks_every_second_lets_in_all_that_a_minute_allows(per_minute):
    allowed, now, spent, begun = Allowance(starts_per_minute=per_minute), 1_800_000_000.0, 0.0, 0
    for _ in range(61):
        count = room(allowed, Use(0, 0, spent, now), 500).starts
        spent, begun, now = max(spent, now) + count * allowed.interval, begun + count, now + 1.0
    late = 60 // (allowed.interval + 1) if allowed.burst == 1 else per_minute  # a bucket of one makes up for nothing
    assert late <= begun <= per_minute + allowed.burst


def test_why_a_run_waits_names_the_word_that_holds_it_back():
    both = Allowance(active_runs=3, starts_per_minute=60)
    assert room(both, Use(3, 3, 0.0, 1e9), 500).why == "activeRuns: 3 of 3 used"
    assert room(both, Use(5, 3, 0.0, 1e9), 500).why == "activeRuns: 5 of 3 used"  # it was lowered
    assert room(both, Use(1, 60, 2e9, 1e9), 500).why.startswith("startsPerMinute: 60 of 60 used")
    assert room(Allowance(starts_per_minute=0), Use(0, 0, 0.0, 1e9), 500).starts == 0
    assert room(NOTHING_SAID, Use(9, 9, 0.0, 1e9), 500).starts == 500


def body(name="one", namespace="shop", generation=1, **spec):
    metadata = {"name": name, "namespace": namespace, "uid": f"{namespace}/{name}", "generation": generation}
    return {"apiVersion": "leat.dev/v1alpha1", "kind": "RunQuota", "metadata": metadata, "spec": spec}


def test_the_quotas_of_a_namespace_are_read_together_and_a_wrong_one_says_every_reason():
    good = [body(activeRuns=3, steps=9), body("two", activeRuns=2), body("three", "den", startsPerMinute=6)]
    wanted, wrong = read([*good, body("four", "den", steps=-1, runs=3)])
    assert wanted == {"shop": Allowance(2, None, 9), "den": Allowance(None, 6, None)}
    assert wrong.keys() == {"den/four"}
    assert "spec.steps: found -1, expected at least 0" in wrong["den/four"]
    assert "spec.runs" in wrong["den/four"]


def test_what_differs_is_put_and_what_is_gone_is_taken_away_where_this_operator_looks():
    known = {"shop": Allowance(1), "den": Allowance(2), "far": Allowance(3)}
    wanted = {"shop": Allowance(5), "den": Allowance(2), "new": Allowance(steps=1)}
    assert changes(wanted, known, ()) == [("new", Allowance(steps=1)), ("shop", Allowance(5)), ("far", NOTHING_SAID)]
    assert ("far", NOTHING_SAID) not in changes(wanted, known, ["shop", "den"])
    assert changes({"shop": Allowance(5)}, {"shop": Allowance(5)}, ()) == []


def test_the_status_shows_used_and_hard_of_the_words_that_the_quota_says():
    status = quota_status(body(activeRuns=3, steps=0), Usage(2, 7, 1, 4, 5), "", NOW)
    assert (status["hard"], status["used"]) == ({"activeRuns": 3, "steps": 0}, {"activeRuns": 2, "steps": 1})
    assert (status["runs"], status["steps"], status.get("starts")) == ("2/3", "1/0", None)
    assert status["waiting"] == {"runs": 4, "steps": 5}
    assert [(each["type"], each["status"]) for each in status["conditions"]] == [
        ("Ready", "True"),
        ("Reconciling", "False"),
        ("Stalled", "False"),
    ]


def test_a_condition_keeps_its_time_and_an_unchanged_status_is_not_written_again():
    first = quota_status(body(activeRuns=3), Usage(2, 7, 1, 4, 5), "", NOW)
    later = quota_status({**body(activeRuns=3), "status": first}, Usage(2, 7, 1, 4, 5), "", NOW + timedelta(hours=1))
    assert later == first


def test_a_wrong_quota_is_stalled_with_its_reasons_and_without_figures():
    status = quota_status(body(steps=-1), Usage(2, 7, 1, 4, 5), "spec.steps: found -1", NOW)
    assert status.keys() == {"observedGeneration", "conditions"}
    assert {(each["type"], each["status"]) for each in status["conditions"]} >= {
        ("Ready", "False"),
        ("Stalled", "True"),
    }
