"""How Workflows stand, from what is seen of their runs."""

from hypothesis import given
from hypothesis import strategies as st

from leat_operator.objects import RUNS, WORKFLOWS, Ref
from leat_operator.standing import Standing

ORDER = ("shop", "order")


def run(name, phase="Running", at="2026-03-01T12:00:00Z", workflow="order"):
    spec = {"workflow": {"name": workflow}} if workflow else {"inline": {}}
    status = {"phase": phase, **({"finishedAt": at} if phase in {"Succeeded", "Failed", "Cancelled"} else {})}
    metadata = {"namespace": "shop", "name": name, "uid": f"uid-{name}"}
    return {"metadata": metadata, "spec": spec, "status": status}


def ref(body):
    return Ref.of(RUNS, body)


def see(standing, body):
    standing.see(ref(body), body)


def last(name, phase, at="2026-03-01T12:00:00Z"):
    return {"name": name, "phase": phase, "finishedAt": at}


def test_a_workflow_tells_how_many_runs_are_active_and_how_the_last_one_ended():
    standing = Standing()
    standing.show(ORDER, {})
    for name in ("a", "b", "c"):
        see(standing, run(name))
    see(standing, run("a", "Failed", "2026-03-01T12:00:02Z"))
    see(standing, run("b", "Succeeded", "2026-03-01T12:00:01Z"))
    assert standing.part(ORDER) == {"active": 1, "lastRun": last("a", "Failed", "2026-03-01T12:00:02Z")}
    assert standing.changed() == [ORDER]
    standing.show(ORDER, standing.part(ORDER))
    assert standing.changed() == []


def test_a_workflow_that_never_had_a_run_is_not_written():
    standing = Standing()
    standing.show(ORDER, {"revision": "r1"})
    assert standing.changed() == []


def test_what_an_earlier_operator_wrote_is_kept_until_a_later_run_ends():
    standing = Standing()
    standing.show(ORDER, {"active": 7, "lastRun": last("old", "Succeeded", "2026-03-01T13:00:00Z")})
    see(standing, run("a", "Failed"))
    assert standing.part(ORDER) == {"active": 0, "lastRun": last("old", "Succeeded", "2026-03-01T13:00:00Z")}
    assert standing.changed() == [ORDER]


def test_a_workflow_of_the_same_name_begins_anew():
    standing = Standing()
    standing.show(ORDER, {})
    see(standing, run("a", "Succeeded"))
    standing.forget(ORDER)
    assert standing.part(ORDER) == {"active": 0}


def test_runs_that_brought_their_own_workflow_and_other_objects_count_nowhere():
    standing = Standing()
    see(standing, run("a", workflow=""))
    standing.see(Ref(WORKFLOWS, "shop", "order", "u"), {"metadata": {}, "spec": {}})
    assert standing.changed() == []


def test_a_deleted_run_is_not_active_any_more():
    standing = Standing()
    see(standing, run("a"))
    standing.gone(ref(run("a")))
    standing.gone(ref(run("never-seen")))
    assert standing.part(ORDER) == {"active": 0}


PHASES = st.sampled_from(["Pending", "Running", "Suspended", "Succeeded", "Failed", "Cancelled"])


@given(st.lists(st.tuples(st.sampled_from("abcd"), PHASES), max_size=30), st.sets(st.sampled_from("abcd")))
def test_a_count_puts_right_whatever_was_missed(seen, unfinished):
    standing = Standing()
    for name, phase in seen:
        see(standing, run(name, phase))
    standing.count([run(name) for name in unfinished])
    assert standing.part(ORDER).get("active", 0) == len(unfinished)
