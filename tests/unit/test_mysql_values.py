import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymysql.constants import FIELD_TYPE

from leat_runner.kinds.mysql_values import literal, row
from leat_runner.kinds.sql_values import BadValue


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "NULL"),
        (True, "1"),
        (False, "0"),
        (7, "7"),
        (-(2**63), "-9223372036854775808"),
        (2**64 - 1, "18446744073709551615"),
        (10.0, "10"),
        (0.5, "0.5e0"),
        (1e300, "1e+300"),
        ("", "_utf8mb4 X''"),
        ("hi'", "_utf8mb4 X'686927'"),
        ("ü", "_utf8mb4 X'c3bc'"),
        ([1], "_utf8mb4 X'5b315d'"),
        ({"a": None}, "_utf8mb4 X'7b2261223a6e756c6c7d'"),
    ],
)
def test_a_json_value_is_a_literal(value, written):
    assert literal(value) == written


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)  # fmt: skip


@given(JSON)
def test_no_value_leaves_a_character_that_a_server_could_read_as_anything_else(value):
    assert re.fullmatch(r"NULL|_utf8mb4 X'(?:[0-9a-f]{2})*'|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", literal(value))


@pytest.mark.parametrize(
    ("value", "message"), [(2**64, "beyond 64 bits"), (1e19 * 10, None), ("\ud800", "not Unicode")]
)
def test_what_has_no_literal_is_refused_without_being_told(value, message):
    if message is None:
        assert literal(value) == "1e+20"
        return
    with pytest.raises(BadValue, match=message) as caught:
        literal(value)
    assert str(value).encode("utf-8", "replace") not in str(caught.value).encode()


@pytest.mark.parametrize(
    ("of", "value", "shown"),
    [
        (FIELD_TYPE.LONG, "7", 7),
        (FIELD_TYPE.LONGLONG, "9223372036854775807", 2**63 - 1),
        (FIELD_TYPE.NEWDECIMAL, "12.30", "12.30"),
        (FIELD_TYPE.DOUBLE, "0.1", 0.1),
        (FIELD_TYPE.DATE, "2030-01-31", "2030-01-31"),
        (FIELD_TYPE.TIME, "-30:00:00", "-30:00:00"),
        (FIELD_TYPE.DATETIME, "2030-01-31 12:00:00.5", "2030-01-31T12:00:00.5"),
        (FIELD_TYPE.TIMESTAMP, "2030-01-31 12:00:00", "2030-01-31T12:00:00+00:00"),
        (FIELD_TYPE.JSON, '{"a": [1, null]}', {"a": [1, None]}),
        (FIELD_TYPE.BIT, b"\x01\x00", 256),
        (FIELD_TYPE.BLOB, b"hi", "aGk="),
        (FIELD_TYPE.BLOB, "hi", "hi"),
        (FIELD_TYPE.LONG, None, None),
    ],
)
def test_a_column_is_a_value_of_json(of, value, shown):
    found = row(["a"], [value], [of])["a"]
    assert found == shown
    assert type(found) is type(shown)


@pytest.mark.parametrize(
    ("of", "value", "message"),
    [
        (FIELD_TYPE.LONGLONG, "9223372036854775808", r"column 'a' .* beyond 63 bits; give cast\(a as char\)"),
        (FIELD_TYPE.GEOMETRY, b"\x00", r"column 'a' .* no form in JSON; give ST_AsGeoJSON\(a\)"),
    ],
)
def test_a_column_without_a_form_in_json_is_named_with_what_to_do(of, value, message):
    with pytest.raises(BadValue, match=message):
        row(["a"], [value], [of])
