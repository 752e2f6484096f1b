"""What expressions read of a message, and how triggers stand in a Workflow's status."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from leat_engine import limits
from leat_engine.errors import Rejected
from leat_engine.kafka.record import Record
from leat_engine.queue.rabbit import Message
from leat_engine.queue.rabbit.events import plain
from leat_operator.event import event_of
from leat_operator.standing import Standing

KEY = ("shop", "report")
NIGHT = {"name": "nightly", "lastFiredAt": "2026-03-01T03:00:00Z", "nextAt": "2026-03-02T03:00:00Z"}


def message(body, content_type="", **more):
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    fields = {"id": "m-1", "headers": {"n": 1}, "routing_key": "orders.new", "exchange": "shop", "timestamp": at}
    return Message(body=body, content_type=content_type, **(fields | more))


def test_an_event_has_what_the_message_has():
    assert event_of(message(b'{"kind": "order"}', "application/json")) == {
        "id": "m-1",
        "body": {"kind": "order"},
        "headers": {"n": 1},
        "routingKey": "orders.new",
        "exchange": "shop",
        "contentType": "application/json",
        "timestamp": "2026-03-01T12:00:00Z",
    }


def test_a_body_that_is_no_json_is_text_unless_it_says_that_it_is_json():
    assert event_of(message(b"a=1"))["body"] == "a=1"
    assert event_of(message(b"17"))["body"] == 17
    with pytest.raises(Rejected, match=r"event.body: is no JSON, as its content type says"):
        event_of(message(b"a=1", "application/json"))
    with pytest.raises(Rejected, match="neither JSON nor text in UTF-8"):
        event_of(message(b"\xff"))


def record(value, **more):
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    fields = {"id": "orders/0/7/1", "topic": "orders", "partition": 0, "offset": 7, "key": b"17", "headers": {}}
    return Record(value=value, timestamp=at, **(fields | more))


def test_an_event_has_what_the_record_has():
    assert event_of(record(b'{"kind": "order"}', headers={"a": b"x", "b": b"\xff", "c": None})) == {
        "id": "orders/0/7/1",
        "key": "17",
        "value": {"kind": "order"},
        "headers": {"a": "x", "b": "/w==", "c": None},
        "topic": "orders",
        "partition": 0,
        "offset": 7,
        "timestamp": "2026-03-01T12:00:00Z",
    }
    assert event_of(record(None))["value"] is None
    assert event_of(record(b"a=1"))["value"] == "a=1"
    with pytest.raises(Rejected, match=r"event.value: is neither JSON nor text in UTF-8"):
        event_of(record(b"\xff"))


def test_a_message_that_is_too_large_is_refused_with_what_to_do():
    with pytest.raises(Rejected, match="keep what is large elsewhere"):
        event_of(message(b"1" * (limits.EVENT_BYTES + 1)))


def test_headers_become_what_json_has():
    at = datetime(2026, 3, 1, tzinfo=UTC)
    found = plain({"a": b"x", "b": [Decimal("1.5"), at], "c": {"d": b"\xff"}, "e": None})
    assert found == {"a": "x", "b": ["1.5", "2026-03-01T00:00:00+00:00"], "c": {"d": "/w=="}, "e": None}


def test_how_triggers_stand_is_told_field_by_field_and_kept_by_those_that_stay():
    standing = Standing()
    standing.show(KEY, {"triggers": [NIGHT, {"name": "gone"}]})
    assert standing.part(KEY)["triggers"] == [NIGHT, {"name": "gone"}]
    standing.list_triggers(KEY, ["orders", "nightly"])
    assert standing.part(KEY)["triggers"] == [{"name": "orders"}, NIGHT]
    standing.tell_trigger(KEY, "nightly", nextAt=None, message="suspended")
    standing.tell_trigger(KEY, "gone", message="not listed")
    told = {"name": "nightly", "lastFiredAt": "2026-03-01T03:00:00Z", "message": "suspended"}
    assert standing.part(KEY)["triggers"] == [{"name": "orders"}, told]
    assert standing.changed() == [KEY]
    standing.list_triggers(KEY, [])
    assert "triggers" not in standing.part(KEY)


def test_a_sweep_forgets_no_triggers():
    standing = Standing()
    standing.list_triggers(KEY, ["nightly"])
    standing.count([])
    standing.tell_trigger(KEY, "nightly", message="suspended")
    assert standing.part(KEY)["triggers"] == [{"name": "nightly", "message": "suspended"}]
