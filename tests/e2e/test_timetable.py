"""Schedules on a real API server and store, with a clock that the test holds: each moment is run once, whoever dies."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from leat_engine.schedule import Cron, due
from leat_engine.spec.kinds import load_models
from leat_engine.trigger import LABEL, name_of
from leat_operator.catalog import Catalog
from leat_operator.cluster import Cluster
from leat_operator.objects import WORKFLOWS, Ref
from leat_operator.standing import Standing
from leat_operator.start import Starter
from leat_operator.timetable import PAUSE, Timetable

START = datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
REPORT = {"name": "report", "transform": "${ inputs.at }"}
AT = {"at": {"type": "string"}}


@pytest.fixture
async def cluster(operator_kubeconfig, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", operator_kubeconfig)
    async with Cluster() as cluster:
        yield cluster


@pytest.fixture
def kept(user, store, cluster):
    """Makes an operator's timetable, with the schedules of a Workflow."""

    def make(*schedules, starter=Starter):
        catalog, standing = Catalog(load_models()), Standing()
        body = user.get("report", "workflows") or user.workflow("report", REPORT, inputs=AT, triggers=list(schedules))
        listed = catalog.put(body)
        assert not listed.reasons
        timetable = Timetable(starter(store, cluster), catalog, standing)
        return timetable, catalog, standing

    return make


def schedule(text="* * * * *", name="minutes", **more):
    inputs = {"at": "${ trigger.scheduledAt }"}
    return {"name": name, "schedule": {"cron": text, **more}, "inputs": inputs}


def names(user):
    return sorted(body["metadata"]["name"] for body in user.runs())


def name(moment, trigger="minutes"):
    return name_of("report", trigger, f"{moment:%Y%m%d%H%M}")


def told(standing, namespace):
    return standing.part((namespace, "report"))["triggers"]


async def test_a_moment_is_run_when_it_comes_and_once(user, kept, namespace):
    timetable, _, standing = kept(schedule())
    for seconds in (0, 20, 29.9):
        await timetable.round(START + timedelta(seconds=seconds))
    assert names(user) == []
    assert told(standing, namespace) == [{"name": "minutes", "nextAt": "2026-05-04T12:01:00Z"}]
    for seconds in (30, 30.5, 31, 80):
        await timetable.round(START + timedelta(seconds=seconds))
    (run,) = user.runs()
    assert run["metadata"]["name"] == "report.minutes.202605041201"
    assert run["metadata"]["labels"] == {LABEL: "minutes"}
    assert run["spec"]["inputs"] == {"at": "2026-05-04T12:01:00Z"}
    assert told(standing, namespace) == [
        {"name": "minutes", "lastFiredAt": "2026-05-04T12:01:00Z", "nextAt": "2026-05-04T12:02:00Z"}
    ]


async def test_an_operator_that_comes_back_runs_the_newest_moment_only_and_only_if_it_is_not_too_late(user, kept):
    rare = schedule("0 * * * *", "hours")
    await kept(schedule(), rare)[0].round(START)
    back = START + timedelta(hours=3, minutes=20)
    await kept()[0].round(back)
    assert names(user) == [name(back)]


async def test_one_that_catches_up_runs_every_moment_the_oldest_first(user, kept):
    await kept(schedule("0 * * * *", onMiss="catchUp"))[0].round(START)
    back = START + timedelta(hours=50)
    timetable, _, _ = kept()
    await timetable.round(back)
    assert len(names(user)) == 20  # a batch
    for _ in range(3):
        await timetable.round(back)
    assert names(user) == [name(moment) for moment in due(Cron.parse("0 * * * *"), START, back)]


async def test_a_suspended_schedule_runs_nothing_then_or_later(user, kept, namespace):
    timetable, catalog, standing = kept(schedule(onMiss="catchUp", suspend=True))
    await timetable.round(START)
    await timetable.round(START + 3 * MINUTE)
    assert told(standing, namespace) == [{"name": "minutes", "message": "suspended"}]
    catalog.put(user.patch("report", {"spec": {"triggers": [schedule(onMiss="catchUp")]}}, "workflows"))
    await timetable.round(START + 3.4 * MINUTE)
    assert names(user) == []
    await timetable.round(START + 4 * MINUTE)
    assert names(user) == [name(START + 4 * MINUTE)]


async def test_a_workflow_that_is_wrong_for_a_while_makes_up_for_what_it_missed(user, kept):
    timetable, catalog, _ = kept(schedule(onMiss="catchUp"))
    await timetable.round(START)
    wrong = user.patch("report", {"spec": {"output": "${ nonsense }"}}, "workflows")
    assert catalog.put(wrong).reasons
    await timetable.round(START + 2 * MINUTE)
    assert names(user) == []
    catalog.put(user.patch("report", {"spec": {"output": None}}, "workflows"))
    await timetable.round(START + 2 * MINUTE)
    assert names(user) == [name(START + MINUTE), name(START + 2 * MINUTE)]


async def test_a_workflow_of_the_same_name_or_a_schedule_that_went_begins_anew(user, kept):
    timetable, catalog, _ = kept(schedule(onMiss="catchUp"))
    await timetable.round(START)
    user.delete("report", "workflows")
    again = user.workflow("report", REPORT, inputs=AT, triggers=[schedule(onMiss="catchUp")])
    catalog.put(again)
    await timetable.round(START + 5 * MINUTE)
    assert names(user) == []
    catalog.put(user.patch("report", {"spec": {"triggers": [schedule("0 0 1 1 *", "yearly")]}}, "workflows"))
    await timetable.round(START + 6 * MINUTE)
    catalog.put(user.patch("report", {"spec": {"triggers": [schedule(onMiss="catchUp")]}}, "workflows"))
    await timetable.round(START + 9 * MINUTE)
    assert names(user) == []
    assert catalog.remove(Ref.of(WORKFLOWS, again))
    await timetable.round(START + 20 * MINUTE)
    assert names(user) == []


async def test_a_moment_that_overlaps_is_skipped_or_waits_or_replaces_what_runs(user, kept, namespace, monkeypatch):
    monkeypatch.setattr("leat_operator.timetable.PAUSE", 0.0)
    triggers = (
        schedule(name="skip", overlap="forbid"),
        schedule(name="wait", overlap="forbid", onMiss="catchUp"),
        schedule(name="new", overlap="replace"),
        schedule(name="both"),
    )
    timetable, _, standing = kept(*triggers)
    first, second = START + MINUTE, START + 2 * MINUTE
    for now in (START, first, second):
        await timetable.round(now)
    every = [name(first, each) for each in ("both", "new", "skip", "wait")]
    assert names(user) == sorted([*every, name(second, "new"), name(second, "both")])
    assert user.get(name(first, "new"))["spec"]["cancel"] is True
    assert not user.get(name(second, "new"))["spec"]["cancel"]
    (waits,) = [each for each in told(standing, namespace) if each["name"] == "wait"]
    assert waits["message"] == f"waits for the end of {name(first, 'wait')}"
    user.delete(name(first, "wait"))
    user.delete(name(first, "skip"))
    await timetable.round(second + timedelta(seconds=1))
    assert name(second, "wait") in names(user)
    assert name(second, "skip") not in names(user)


async def test_what_the_api_server_refuses_is_told_and_tried_again(user, kept, namespace, monkeypatch):
    timetable, _, standing = kept(schedule())
    await timetable.round(START)
    with monkeypatch.context() as denied:
        denied.setattr("leat_operator.start.RUNS", WORKFLOWS)  # which the operator may not create
        await timetable.round(START + MINUTE)
    assert "cannot create resource" in told(standing, namespace)[0]["message"]
    assert names(user) == []
    monkeypatch.setattr("leat_operator.timetable.time.monotonic", lambda now=PAUSE: 10**9 + now)
    await timetable.round(START + MINUTE)
    assert names(user) == [name(START + MINUTE)]
    assert "message" not in told(standing, namespace)[0]


class Dead(BaseException):
    """The operator is gone."""


async def test_whoever_dies_and_whenever_each_moment_is_run_once(user, kept):
    chance = random.Random(7)
    created = Counter()
    moments = due(Cron.parse("*/3 * * * *"), START, START + timedelta(minutes=120))
    now = START

    class Mortal(Starter):
        async def start(self, within, body, source):
            if chance.random() < 0.25:
                raise Dead
            if await super().start(within, body, source):
                created[body["metadata"]["name"]] += 1
            if chance.random() < 0.25:
                raise Dead
            return True

    timetable, _, _ = kept(schedule("*/3 * * * *", onMiss="catchUp"), starter=Mortal)
    await timetable.round(START)
    deaths = 0
    while now < START + timedelta(minutes=120) or len(created) < len(moments):
        now = min(now + timedelta(minutes=chance.choice((1, 2, 10))), START + timedelta(minutes=120))
        try:
            await timetable.round(now)
        except Dead:
            deaths += 1
            timetable, _, _ = kept(starter=Mortal)
    assert deaths > 10
    assert created == Counter(map(name, moments))
    assert names(user) == sorted(map(name, moments))
