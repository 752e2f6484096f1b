"""Which finished resources go, by their time and by their Workflow's limits."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_engine.plan import revision_id
from leat_engine.spec import History, parse_workflow
from leat_engine.spec.kinds import load_models
from leat_operator import tidy
from leat_operator.catalog import Catalog
from leat_operator.history import Agenda, Finished
from leat_operator.objects import RUNS, Ref
from leat_operator.tidy import Tidier

ENDED = "2026-03-01T12:00:09.000Z"
AT = 1772366409.0


def finished(name, at=0.0, *, workflow="order", succeeded=True, ttl=None):
    return Finished(Ref(RUNS, "shop", name, f"uid-{name}"), workflow, succeeded, at, ttl)


def names(runs):
    return [run.ref.name for run in runs]


def body(phase="Succeeded", **spec):
    return {
        "metadata": {
            "name": "a",
            "namespace": "shop",
            "uid": "uid-a",
            "creationTimestamp": "2026-03-01T12:00:00Z",
        },
        "spec": {"workflow": {"name": "order"}, **spec},
        "status": {"phase": phase, "finishedAt": ENDED},
    }


def test_a_resource_tells_when_it_ended_and_how_long_it_stays():
    assert Finished.of(body(ttlSecondsAfterFinished=60)) == finished("a", AT, ttl=60)
    assert Finished.of(body("Cancelled")) == finished("a", AT, succeeded=False)


@pytest.mark.parametrize("phase", ["", "Pending", "Running", "Suspended", "Compensating", "Elsewhere"])
def test_what_is_not_over_is_not_finished(phase):
    assert Finished.of(body(phase)) is None


def test_what_is_being_deleted_is_left_alone():
    leaving = body()
    leaving["metadata"]["deletionTimestamp"] = ENDED
    assert Finished.of(leaving) is None


def test_a_resource_goes_when_its_time_is_over_and_not_before():
    agenda = Agenda()
    agenda.put(finished("a", 100.0, ttl=60))
    assert agenda.take(159.9, 10) == []
    assert agenda.next_due(150.0) == 10.0
    assert names(agenda.take(160.0, 10)) == ["a"]
    assert agenda.next_due(160.0) is None


def test_a_runs_own_word_on_its_time_is_stronger_than_the_workflows():
    agenda = Agenda()
    agenda.rule("shop", "order", History(ttl_seconds_after_finished=10))
    agenda.put(finished("default"))
    agenda.put(finished("longer", ttl=100))
    agenda.put(finished("other", workflow="bill"))
    assert names(agenda.take(50.0, 10)) == ["default"]
    assert names(agenda.take(1e9, 10)) == ["longer"]


def test_the_oldest_go_when_there_are_more_than_the_workflow_keeps_each_kind_of_end_by_itself():
    agenda = Agenda()
    agenda.rule("shop", "order", History(succeeded=2, failed=1))
    for at in (3.0, 1.0, 2.0, 4.0):
        agenda.put(finished(f"good-{at:g}", at))
        agenda.put(finished(f"bad-{at:g}", at, succeeded=False))
    assert sorted(names(agenda.take(5.0, 10))) == ["bad-1", "bad-2", "bad-3", "good-1", "good-2"]


def test_a_run_that_brought_its_own_workflow_has_no_limit_but_its_time():
    agenda = Agenda()
    agenda.rule("shop", "", History(succeeded=0))
    agenda.put(finished("a", workflow=""))
    assert len(agenda) == 0
    agenda.put(finished("a", workflow="", ttl=1))
    assert names(agenda.take(1.0, 10)) == ["a"]


def test_what_no_rule_speaks_of_costs_no_memory_and_is_asked_for_when_one_does():
    agenda = Agenda()
    agenda.put(finished("a"))
    assert len(agenda) == 0
    assert agenda.rule("shop", "order", History(failed=1))
    assert not agenda.rule("shop", "order", History(failed=1))
    assert not agenda.rule("shop", "order", None)


def test_a_limit_that_is_lifted_in_time_spares_what_was_to_go():
    agenda = Agenda()
    agenda.rule("shop", "order", History(succeeded=1))
    for at in (1.0, 2.0, 3.0):
        agenda.put(finished(f"a-{at:g}", at))
    agenda.rule("shop", "order", History(succeeded=2))
    assert names(agenda.take(9.0, 10)) == ["a-1"]
    agenda.rule("shop", "order", None)
    assert agenda.take(1e9, 10) == []


def test_one_that_somebody_else_deleted_is_not_counted_any_more():
    agenda = Agenda()
    agenda.rule("shop", "order", History(succeeded=2))
    agenda.put(finished("a", 1.0))
    agenda.put(finished("b", 2.0))
    agenda.retain(agenda.known(), {"uid-b"})
    agenda.put(finished("c", 3.0))
    assert agenda.take(9.0, 10) == []


def test_memory_follows_what_is_kept_not_what_has_gone():
    agenda = Agenda()
    agenda.rule("shop", "order", History(succeeded=3, ttl_seconds_after_finished=10**9))
    for number in range(1_000):
        agenda.put(finished(f"a-{number}", float(number)))
        agenda.take(float(number), 10)
    assert len(agenda) == 3
    assert len(agenda._expiring._heap) < 50
    assert len(agenda._kept[("shop", "order"), True]._heap) < 50


LIMITS = st.none() | st.integers(0, 4)
RULES = st.none() | st.builds(History, succeeded=LIMITS, failed=LIMITS, ttl_seconds_after_finished=LIMITS)
RUNS_OF_SHOP = st.builds(
    finished,
    st.integers(0, 30).map(str),
    st.integers(0, 20).map(float),
    workflow=st.sampled_from(["order", "bill", ""]),
    succeeded=st.booleans(),
    ttl=st.none() | st.integers(0, 10),
)
ACTIONS = st.lists(
    st.tuples(st.just("put"), RUNS_OF_SHOP)
    | st.tuples(st.just("rule"), st.tuples(st.sampled_from(["order", "bill"]), RULES))
    | st.tuples(st.just("take"), st.integers(1, 5))
    | st.tuples(st.just("wait"), st.integers(1, 10)),
    max_size=60,
)


def limit(rule, run):
    if rule is None or not run.workflow:
        return None
    return rule.succeeded if run.succeeded else rule.failed


class World:
    """A cluster whose finished resources are put into an agenda, and deleted when it says so."""

    def __init__(self):
        self.agenda, self.runs, self.rules, self.now = Agenda(), {}, {}, 0.0

    def put(self, run):
        self.runs[run.ref.uid] = run
        self.agenda.put(run)

    def rule(self, said):
        workflow, history = said
        self.rules[workflow] = history
        if self.agenda.rule("shop", workflow, history):
            for run in self.runs.values():
                self.agenda.put(run)

    def wait(self, seconds):
        self.now += seconds

    def take(self, most):
        for run in self.agenda.take(self.now, most):
            keeps = limit(self.rules.get(run.workflow), run)
            newer = [other for other in self.alike(run) if other is not run and other.at >= run.at]
            assert self.expired(run) or (keeps is not None and len(newer) >= keeps)
            del self.runs[run.ref.uid]

    def alike(self, run):
        kind = run.workflow, run.succeeded
        return [other for other in self.runs.values() if (other.workflow, other.succeeded) == kind]

    def expired(self, run):
        expiry = run.expiry(self.rules.get(run.workflow) or History())
        return expiry is not None and expiry <= self.now


@given(ACTIONS)
def test_no_more_than_the_limit_are_kept_the_newest_are_and_nothing_goes_before_its_time(actions):
    world = World()
    for action, value in actions:
        getattr(world, action)(value)
    world.take(1_000)
    for run in world.runs.values():
        assert not world.expired(run)
        keeps = limit(world.rules.get(run.workflow), run)
        assert keeps is None or len(world.alike(run)) <= keeps
    following = world.agenda.next_due(world.now)
    assert following is None or following > 0


@given(RUNS_OF_SHOP, st.integers(0, 10))
def test_one_that_was_given_more_time_stays(run, more):
    agenda = Agenda()
    agenda.put(replace(run, ttl=5))
    agenda.put(replace(run, ttl=5 + more))
    assert agenda.take(run.at + 5, 10) == ([] if more else [replace(run, ttl=5)])


WORKFLOW = {
    "apiVersion": "leat.dev/v1alpha1",
    "kind": "Workflow",
    "metadata": {"name": "order", "namespace": "shop", "uid": "u"},
    "spec": {"steps": [{"name": "a", "transform": 1}]},
}


def with_history(**history):
    return {**WORKFLOW, "spec": {**WORKFLOW["spec"], "history": history}}


def test_limits_of_history_make_no_new_revision():
    plain, limited = parse_workflow(WORKFLOW).spec, parse_workflow(with_history(succeeded=3)).spec
    assert limited.history == History(succeeded=3)
    assert revision_id(limited.as_json()) == revision_id(plain.as_json())


def test_the_limits_of_a_workflow_hold_even_when_its_steps_are_wrong():
    wrong = with_history(failed=1)
    wrong["spec"]["steps"] = [{"name": "a", "htpp": {}}]
    listed = Catalog(load_models()).put(wrong)
    assert listed.compiled is None
    assert listed.history == History(failed=1)


class OnePage:
    """A cluster with one finished run. ``during`` is called while its first list is read."""

    def __init__(self, during):
        self.deleted = asyncio.Event()
        self._during = during

    async def pages(self, *_):
        yield [self._run()]
        self._during()

    async def get(self, *_):
        return self._run()

    async def delete(self, *_):
        self.deleted.set()

    @staticmethod
    def _run():
        shown = body()
        shown["metadata"] |= {"generation": 1, "resourceVersion": "1"}
        shown["status"]["observedGeneration"] = 1
        return shown


async def test_a_rule_that_comes_while_a_list_is_read_gets_a_list_of_its_own(monkeypatch):
    monkeypatch.setattr(tidy, "SOON", 0.0)
    cluster = OnePage(lambda: tidier.heed("shop", "order", History(succeeded=0)))
    tidier = Tidier(cluster, rate=100, interval=600)
    task = asyncio.create_task(tidier.run(None))
    async with asyncio.timeout(10):
        await cluster.deleted.wait()
    task.cancel()
