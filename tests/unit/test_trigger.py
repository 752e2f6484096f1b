"""Triggers: what is refused when a workflow is planned, and the runs that moments and messages make."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_engine.errors import Rejected
from leat_engine.spec import parse_workflow
from leat_engine.trigger import NAME_CHARS, compile_triggers, name_of, run_at, run_for

AT = datetime(2026, 7, 1, 3, 30, tzinfo=UTC)
INPUTS = {"day": {"type": "string", "default": ""}, "amount": {"type": "integer", "minimum": 1, "default": 1}}
NIGHTLY = {"name": "nightly", "schedule": {"cron": "30 5 * * *", "timeZone": "Europe/Berlin"}}
ORDERS = {"name": "orders", "amqp": {"url": "amqp://rabbit/", "queue": "orders"}}
PAID = {"name": "paid", "kafka": {"url": "kafkas://kafka-1,kafka-2", "topic": "paid"}}


def compiled(*triggers, inputs=INPUTS):
    document = {
        "apiVersion": "leat.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "report"},
        "spec": {"inputs": inputs, "steps": [{"name": "a", "transform": 1}], "triggers": list(triggers)},
    }
    spec = parse_workflow(document).spec
    return compile_triggers(spec.triggers, spec.inputs)


def refused(*triggers, inputs=INPUTS):
    with pytest.raises(Rejected) as caught:
        compiled(*triggers, inputs=inputs)
    return {reason.path: reason.message for reason in caught.value.reasons}


def message(body, **more):
    return {"id": "m-1", "body": body, "headers": {}, "routingKey": "", "exchange": "", "contentType": ""} | more


def test_a_moment_makes_the_same_run_each_time_with_inputs_of_its_time():
    (trigger,) = compiled(NIGHTLY | {"inputs": {"day": "${ trigger.localTime.substring(0, 10) }"}})
    run = run_at("report", trigger, AT)
    assert run["metadata"]["name"] == "report.nightly.202607010330"
    assert run["metadata"]["labels"] == {"leat.dev/trigger": "nightly"}
    assert run["metadata"]["annotations"] == {"leat.dev/scheduled-at": "2026-07-01T03:30:00Z"}
    assert run["spec"] == {"workflow": {"name": "report"}, "inputs": {"day": "2026-07-01"}}
    assert run == run_at("report", trigger, AT)


def test_a_message_makes_a_run_that_is_the_same_for_equal_ids():
    (trigger,) = compiled(ORDERS | {"inputs": {"amount": "${ event.body.amount }"}})
    first, again = (run_for("report", trigger, message({"amount": amount}), "x") for amount in (2, 3))
    assert first["spec"]["inputs"] == {"amount": 2}
    assert first["metadata"]["name"] == again["metadata"]["name"]
    other = run_for("report", trigger, message({"amount": 2}, id="m-2"), "x")
    assert other["metadata"]["name"] != first["metadata"]["name"]


def test_messages_without_an_id_are_told_apart_by_their_deliveries():
    (trigger,) = compiled(ORDERS)
    names = {run_for("report", trigger, message(1, id=None), which)["metadata"]["name"] for which in ("a", "b")}
    assert len(names) == 2


def test_a_message_may_be_told_apart_by_what_it_says():
    (trigger,) = compiled(ORDERS | {"dedupe": "${ event.body.order }-${ event.body.version }"})
    names = [
        run_for("report", trigger, message({"order": "A", "version": version}), "x")["metadata"]["name"]
        for version in (1, 1, 2)
    ]
    assert names[0] == names[1] != names[2]


def test_a_message_that_the_condition_leaves_out_starts_no_run():
    (trigger,) = compiled(ORDERS | {"when": "${ event.body.kind == 'order' }"})
    assert run_for("report", trigger, message({"kind": "other"}), "x") is None
    assert run_for("report", trigger, message({"kind": "order"}), "x") is not None


@pytest.mark.parametrize(
    ("trigger", "body", "path"),
    [
        ({"inputs": {"amount": "${ event.body.amount }"}}, {"amount": 0}, "spec.triggers[0].inputs.amount"),
        ({"inputs": {"amount": "${ event.body.amount }"}}, "text", "spec.triggers[0].inputs.amount"),
        ({"when": "${ event.body.kind == 'x' }"}, {}, "spec.triggers[0].when"),
        ({"dedupe": "${ event.body }"}, {}, "spec.triggers[0].dedupe"),
    ],
)
def test_a_message_that_fits_no_run_is_refused_with_the_path_of_what_it_does_not_fit(trigger, body, path):
    (found,) = compiled(ORDERS | trigger)
    with pytest.raises(Rejected, match=path.replace("[", r"\[").replace("]", r"\]")):
        run_for("report", found, message(body), "x")


def test_mistakes_are_refused_with_their_paths_when_the_workflow_is_planned():
    assert refused(NIGHTLY, NIGHTLY).keys() == {"spec.triggers[1].name"}
    assert "there is no input 'dya'" in refused(NIGHTLY | {"inputs": {"dya": 1}})["spec.triggers[0].inputs.dya"]
    assert refused(NIGHTLY | {"inputs": {"amount": "${ trigger.scheduledAt }"}}).keys() == {
        "spec.triggers[0].inputs.amount"
    }
    assert (
        "expected five fields"
        in refused({"name": "x", "schedule": {"cron": "often"}})["spec.triggers[0].schedule.cron"]
    )
    zone = refused({"name": "x", "schedule": {"cron": "@daily", "timeZone": "Mars/Base"}})
    assert zone.keys() == {"spec.triggers[0].schedule.timeZone"}
    assert "exactly one of `schedule`, `amqp` and `kafka`" in refused({"name": "x"})["spec.triggers[0]"]
    assert "no `when` with a schedule" in refused(NIGHTLY | {"when": True})["spec.triggers[0]"]
    assert "there is no field 'paylod'" in " ".join(refused(ORDERS | {"when": "${ event.paylod == 1 }"}).values())
    assert refused(ORDERS, inputs={"must": {"type": "string"}}).keys() == {"spec.triggers[0].inputs.must"}


def test_what_a_queue_gives_is_checked_as_far_as_it_is_known_before():
    assert "not of type" in refused(ORDERS | {"inputs": {"amount": "2"}})["spec.triggers[0].inputs.amount"]
    assert refused(PAID | {"inputs": {"amount": 0, "day": "${ event.key }"}}).keys() == {
        "spec.triggers[0].inputs.amount"
    }
    for dedupe in ("event.body.id", ""):  # whoever forgets `${ }` would have one run, and no other message
        assert "only the first would start a run" in refused(ORDERS | {"dedupe": dedupe})["spec.triggers[0].dedupe"]


def test_a_secret_may_stand_neither_in_inputs_nor_in_the_url():
    assert (
        "reads secret('pay', 'token')"
        in refused(NIGHTLY | {"inputs": {"day": "${ secret('pay', 'token') }"}})["spec.triggers[0].inputs.day"]
    )
    url = refused({"name": "x", "amqp": {"url": "amqp://me:word@rabbit/", "queue": "q"}})
    assert "into a Secret" in url["spec.triggers[0].amqp.url"]
    assert "word" not in url["spec.triggers[0].amqp.url"].replace("password", "")
    assert (
        "exactly one of `url` and `secretRef`"
        in refused({"name": "x", "amqp": {"queue": "q"}})["spec.triggers[0].amqp"]
    )


def test_a_record_makes_a_run_that_is_the_same_for_the_same_place():
    (trigger,) = compiled(PAID | {"inputs": {"amount": "${ event.value.amount }", "day": "${ event.key }"}})
    record = {"id": "paid/0/7/1", "key": "2026", "value": {"amount": 2}, "headers": {}, "topic": "paid"}
    first, again = (run_for("report", trigger, record, which) for which in ("x", "y"))
    assert first == again
    assert first["spec"]["inputs"] == {"amount": 2, "day": "2026"}
    assert first["metadata"]["annotations"] == {"leat.dev/event-id": "paid/0/7/1"}
    other = run_for("report", trigger, record | {"id": "paid/1/7/1"}, "x")
    assert other["metadata"]["name"] != first["metadata"]["name"]


def test_mistakes_of_a_topic_are_refused_with_their_paths():
    both = refused({**PAID, "amqp": ORDERS["amqp"]})["spec.triggers[0]"]
    assert "exactly one of `schedule`, `amqp` and `kafka`" in both
    path = "spec.triggers[0].kafka"
    url = refused({"name": "x", "kafka": {"url": "kafka://me:word@kafka", "topic": "q"}})[f"{path}.url"]
    assert "into a Secret" in url
    assert "word" not in url.replace("password", "")
    assert "kafkas://HOST" in refused({"name": "x", "kafka": {"url": "kafka", "topic": "q"}})[f"{path}.url"]
    assert "letters, digits" in refused({"name": "x", "kafka": {"url": "kafka://k", "topic": "a b"}})[f"{path}.topic"]
    dead = {"url": "kafka://k", "topic": "q", "deadLetterTopic": "q"}
    assert "come again for ever" in refused({"name": "x", "kafka": dead})[path]
    assert "there is no field 'body'" in " ".join(refused(PAID | {"when": "${ event.body == 1 }"}).values())


def test_triggers_are_no_part_of_the_revision():
    document = {
        "apiVersion": "leat.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "report"},
        "spec": {"steps": [{"name": "a", "transform": 1}], "triggers": [NIGHTLY]},
    }
    assert "triggers" not in parse_workflow(document).spec.as_json()


names = st.from_regex(r"[a-z]([-a-z0-9.]{0,250}[a-z0-9])?", fullmatch=True)
triggers = st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)


@given(st.tuples(names, triggers), st.tuples(names, triggers))
def test_no_two_triggers_share_the_name_of_a_run_and_every_name_is_short_enough(one, other):
    assert (name_of(*one, "202607010330") == name_of(*other, "202607010330")) is (one == other)
    assert len(name_of(*one, "202607010330")) <= NAME_CHARS
