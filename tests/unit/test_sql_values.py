from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import ip_address
from uuid import UUID

import pytest

from leat_runner.kinds.sql_values import BadValue, parameter, row

ID = "0190a6c0-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("of", "value", "read"),
    [
        ("int4", 10.0, 10),
        ("int8", 7, 7),
        ("float8", 1, 1.0),
        ("numeric", "12.30", Decimal("12.30")),
        ("numeric", 0.1, Decimal("0.1")),
        ("bool", True, True),
        ("text", "x", "x"),
        ("text", 5, "5"),
        ("text", {"a": [1]}, '{"a":[1]}'),
        ("jsonb", {"a": 1}, '{"a":1}'),
        ("jsonb", "x", '"x"'),
        ("jsonb", None, None),
        ("date", "2030-01-31", date(2030, 1, 31)),
        ("timestamptz", "2030-01-31T12:00:00Z", datetime(2030, 1, 31, 12, tzinfo=UTC)),
        ("timestamp", "2030-01-31T12:00:00", datetime.fromisoformat("2030-01-31T12:00:00")),
        ("time", "12:30:00", time(12, 30)),
        ("interval", "1h30m", timedelta(minutes=90)),
        ("interval", 1.5, timedelta(seconds=1.5)),
        ("bytea", "aGk=", b"hi"),
        ("uuid", ID, ID),
        ("int4[]", [1, 2.0, None], [1, 2, None]),
        ("a_users_enum", "paid", "paid"),
        ("int4", None, None),
    ],
)
def test_a_json_value_is_read_as_the_type_that_is_due(of, value, read):
    assert parameter(value, of) == read
    assert type(parameter(value, of)) is type(read)


@pytest.mark.parametrize(
    ("of", "value", "message"),
    [
        ("int4", 1.5, "found a number, expected a whole number for int4"),
        ("int4", True, "found true or false, expected a whole number for int4"),
        ("int4", "1", "found a text, expected a whole number for int4"),
        ("bool", "yes", "found a text, expected true or false"),
        ("date", "31.1.2030", "found a text, expected a date such as 2030-01-31"),
        ("date", 5, "found a number, expected a date such as 2030-01-31"),
        ("timestamptz", "2030-01-31T12:00:00", "expected a time with its zone"),
        ("timestamp", "2030-01-31T12:00:00Z", "expected a time without a zone"),
        ("numeric", "many", "expected a number, or one in text"),
        ("bytea", "no base64!", "found a text, expected bytes in base64"),
        ("int4[]", 1, "found a number, expected a list of int4"),
        ("int4[]", ["a"], "found a text, expected a whole number for int4"),
        ("uuid", {}, "found an object, expected a UUID"),
    ],
)
def test_a_value_of_another_type_is_refused_without_telling_it(of, value, message):
    with pytest.raises(BadValue) as caught:
        parameter(value, of)
    assert message in str(caught.value)


def test_a_row_is_an_object_of_json():
    record = {
        "number": 1,
        "price": Decimal("12.30"),
        "at": datetime(2030, 1, 31, 12, tzinfo=UTC),
        "id": UUID(ID),
        "document": '{"a": [1, null]}',
        "documents": ["1", '"x"', None],
        "bytes": b"hi",
        "wait": timedelta(seconds=90),
        "host": ip_address("192.0.2.7"),
        "words": ["a", None],
        "nothing": None,
    }
    types = ["int4", "numeric", "timestamptz", "uuid", "jsonb", "json[]", "bytea", "interval", "inet", "text[]", "text"]
    assert row(record, types) == {
        "number": 1,
        "price": "12.30",
        "at": "2030-01-31T12:00:00+00:00",
        "id": ID,
        "document": {"a": [1, None]},
        "documents": [1, "x", None],
        "bytes": "aGk=",
        "wait": 90.0,
        "host": "192.0.2.7",
        "words": ["a", None],
        "nothing": None,
    }


def test_a_column_without_a_form_in_json_is_named_with_what_to_do():
    with pytest.raises(BadValue, match=r"column 'span' is of type int4range, .* cast it .* span::text"):
        row({"span": object()}, ["int4range"])
