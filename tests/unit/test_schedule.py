"""Moments of schedules: laws, and what happens where clocks change."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_engine.schedule import BATCH, Cron, OnMiss, Policy, Turn, due, latest, turn

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo")
TEXTS = (
    "* * * * *",
    "*/7 * * * *",
    "0 * * * *",
    "30 * * * *",
    "15 0 * * *",
    "30 1 * * *",
    "0,30 2 * * *",
    "*/10 2 * * *",
    "30 2,3 * * SUN",
    "5 4 1-7 * MON",
    "0 0 L * *",
    "@daily",
    "@midnight",
    "@annually",
)
TRANSITIONS = (
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Berlin, forward
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # Berlin, back
    datetime(2026, 3, 8, 7, tzinfo=UTC),  # New York, forward
    datetime(2026, 11, 1, 6, tzinfo=UTC),  # New York, back
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),  # Lord Howe, half an hour forward
    datetime(2026, 4, 4, 15, tzinfo=UTC),  # Lord Howe, half an hour back
    datetime(2018, 11, 4, 3, tzinfo=UTC),  # Sao Paulo, forward at midnight
    datetime(2018, 2, 18, 2, tzinfo=UTC),  # Sao Paulo, back at midnight
)

crons = st.builds(Cron.parse, st.sampled_from(TEXTS), st.sampled_from(ZONES))
moments = st.one_of(
    st.builds(
        lambda at, seconds: at + timedelta(seconds=seconds),
        st.sampled_from(TRANSITIONS),
        st.floats(-30 * 3600, 30 * 3600),
    ),
    st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - its zone is given
)
spans = st.floats(0, 40 * 3600).map(lambda seconds: timedelta(seconds=seconds))


@given(crons, moments, spans)
def test_moments_ascend_and_lie_between_the_two_looks(cron, last, span):
    found = due(cron, last, last + span)
    assert all(last < moment <= last + span for moment in found)
    assert all(earlier < later for earlier, later in pairwise(found))


@given(crons, moments, spans, spans)
def test_no_moment_is_lost_between_two_looks_and_none_is_seen_twice(cron, last, first, second):
    middle, end = last + first, last + first + second
    assert due(cron, last, middle) + due(cron, middle, end) == due(cron, last, end)


@given(crons, moments, spans)
def test_the_newest_moment_is_the_last_one_that_is_due(cron, last, span):
    found = due(cron, last, last + span)
    assert latest(cron, last, last + span) == (found[-1] if found else None)


@given(crons, moments, st.lists(spans, max_size=8), st.booleans())
def test_whoever_catches_up_runs_every_moment_once_however_often_somebody_looks(cron, last, gaps, late):
    policy = Policy(cron, OnMiss.CATCH_UP, None, suspended=False)
    settled, now, ran = last, last, []
    for gap in gaps:
        now += gap
        while True:
            step = turn(policy, settled, now)
            assert len(step.moments) <= BATCH
            ran += step.moments
            settled = step.until
            if late or settled == now:
                break
    assert ran == due(cron, last, settled)


def shown(text, zone, start, hours):
    """The moments of some hours, as the clock of the zone shows them."""
    found = due(Cron.parse(text, zone), start, start + timedelta(hours=hours))
    return [f"{moment.astimezone(ZoneInfo(zone)):%d %H:%M %Z}" for moment in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 2 * * *", ["28 02:30 CET", "29 03:00 CEST", "30 02:30 CEST"]),
        ("0,30 2 * * *", ["28 02:00 CET", "28 02:30 CET", "29 03:00 CEST", "30 02:00 CEST", "30 02:30 CEST"]),
        ("0 3 * * *", ["28 03:00 CET", "29 03:00 CEST", "30 03:00 CEST"]),
        ("*/30 2 * * *", ["28 02:00 CET", "28 02:30 CET", "30 02:00 CEST", "30 02:30 CEST"]),
    ],
)
def test_a_time_that_the_clock_leaves_out_is_run_right_after_the_gap_unless_it_recurs(text, expected):
    assert shown(text, "Europe/Berlin", datetime(2026, 3, 28, 0, tzinfo=UTC), 60) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 2 * * *", ["24 02:30 CEST", "25 02:30 CEST", "26 02:30 CET"]),
        ("0 3 * * *", ["24 03:00 CEST", "25 03:00 CET", "26 03:00 CET"]),
    ],
)
def test_a_time_that_the_clock_shows_twice_is_run_once(text, expected):
    assert shown(text, "Europe/Berlin", datetime(2026, 10, 23, 22, tzinfo=UTC), 60) == expected


def test_what_recurs_goes_by_real_time_where_the_clock_is_put_back():
    start = datetime(2026, 10, 25, 0, tzinfo=UTC)
    assert shown("0 * * * *", "Europe/Berlin", start - timedelta(minutes=1), 3) == [
        "25 02:00 CEST",
        "25 02:00 CET",
        "25 03:00 CET",
    ]


def test_a_day_that_begins_at_one_is_run_then():
    assert shown("0 0 * * *", "America/Sao_Paulo", datetime(2018, 11, 3, 12, tzinfo=UTC), 40) == [
        "04 01:00 -02",
        "05 00:00 -02",
    ]


NOW = datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)


def policy(on_miss, deadline, text="*/10 * * * *", *, suspended=False):
    return Policy(Cron.parse(text), on_miss, deadline, suspended)


def test_of_moments_that_were_missed_only_the_newest_is_run_and_only_if_it_is_not_too_late():
    hours_ago = NOW - timedelta(hours=5)
    assert turn(policy(OnMiss.SKIP, timedelta(minutes=5)), hours_ago, NOW) == Turn((NOW.replace(second=0),), NOW)
    assert turn(policy(OnMiss.SKIP, timedelta(minutes=5), "0 9 * * *"), hours_ago, NOW) == Turn((), NOW)


def test_a_year_of_missed_minutes_is_made_up_for_in_batches_the_oldest_first():
    year_ago = NOW - timedelta(days=365)
    step = turn(policy(OnMiss.CATCH_UP, None, "* * * * *"), year_ago, NOW)
    assert len(step.moments) == BATCH
    assert step.until == step.moments[-1] == year_ago.replace(second=0) + timedelta(minutes=BATCH)


def test_what_is_older_than_the_deadline_is_not_made_up_for():
    step = turn(policy(OnMiss.CATCH_UP, timedelta(minutes=25)), NOW - timedelta(days=1), NOW)
    assert [moment.minute for moment in step.moments] == [40, 50, 0]


def test_a_suspended_schedule_settles_what_passes():
    assert turn(policy(OnMiss.CATCH_UP, None, suspended=True), NOW - timedelta(days=1), NOW) == Turn((), NOW)


def test_a_clock_that_was_put_back_runs_nothing_again():
    assert turn(policy(OnMiss.CATCH_UP, None), NOW, NOW - timedelta(hours=1)) == Turn((), NOW)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("* * * *", "expected five fields"),
        ("0 0 * * * *", "expected five fields"),
        ("61 * * * *", "there is no such minute"),
        ("0 0 31 FEB *", "there is no such day-of-month"),
        ("@reboot", "@hourly, @daily"),
    ],
)
def test_what_is_no_schedule_is_refused_with_what_is_expected(text, problem):
    with pytest.raises(ValueError, match=problem):
        Cron.parse(text)


def test_a_zone_that_is_misspelt_is_answered_with_a_real_one():
    with pytest.raises(ValueError, match="such as Europe/Berlin"):
        Cron.parse("@daily", "Europe/Berlni")
