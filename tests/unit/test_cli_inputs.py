"""Inputs as they are written on the command line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_cli.inputs import parse_pairs, parse_value, read_file
from leat_cli.problems import Invalid

SCHEMAS = {
    "id": {"type": "string"},
    "count": {"type": "integer"},
    "items": {"type": "array"},
    "flag": {"type": "boolean"},
    "either": {"type": ["integer", "string"]},
    "pin": {"type": "integer", "sensitive": True},
}


def values(*pairs: str) -> dict[str, object]:
    return parse_pairs(pairs, SCHEMAS)


def reasons(*pairs: str) -> str:
    with pytest.raises(Invalid) as refused:
        values(*pairs)
    return str(refused.value)


@given(st.text())
def test_whatever_is_written_for_a_string_is_that_text(text: str):
    assert values(f"id={text}") == {"id": text}


@given(st.from_regex(r"[A-Za-z ]+[!?.]", fullmatch=True))
def test_what_no_schema_describes_is_text_where_it_is_not_json(text: str):
    assert parse_value(text, {}) == text
    assert parse_value(json.dumps(text), {}) == text


def test_a_value_for_another_type_is_json():
    assert values("count=17", 'items=["a", 2]', "flag=true") == {"count": 17, "items": ["a", 2], "flag": True}


def test_a_value_may_hold_equals_signs_and_be_empty():
    assert values("id=a=b=c") == {"id": "a=b=c"}
    assert values("id=") == {"id": ""}


def test_an_input_that_takes_strings_too_takes_what_is_not_json_as_text():
    assert values("either=17") == {"either": 17}
    assert values("either=seventeen") == {"either": "seventeen"}


def test_what_is_not_json_where_it_must_be_is_refused_with_an_example():
    assert reasons("items=a,b") == """-i items: found 'a,b', expected JSON of type array, such as '["a", "b"]'"""


def test_every_bad_pair_is_named():
    found = reasons("count=many", "flag", "id=a", "id=b")
    assert found.splitlines() == [
        "-i count: found 'many', expected JSON of type integer, such as 17",
        "-i: found 'flag', expected NAME=VALUE, such as -i orderId=A-17",
        "-i id: given twice: keep one of them",
    ]


def test_a_sensitive_value_is_not_repeated():
    assert "hunter2" not in reasons("pin=hunter2")


def test_a_file_of_inputs_may_be_yaml_or_json(tmp_path):
    (tmp_path / "a.yaml").write_text("orderId: A-17\ncount: 2\n")
    (tmp_path / "a.json").write_text('{"orderId": "A-17", "count": 2}')
    assert read_file(str(tmp_path / "a.yaml")) == read_file(str(tmp_path / "a.json")) == {"orderId": "A-17", "count": 2}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- a\n", "found a list, expected an object"),
        ("", "found nothing, expected an object"),
        ("a: [1\n", "not YAML"),
    ],
)
def test_a_file_of_something_else_is_refused_with_its_name(tmp_path, text, reason):
    file = tmp_path / "inputs.yaml"
    file.write_text(text)
    with pytest.raises(Invalid, match=reason) as refused:
        read_file(str(file))
    assert str(refused.value).startswith(str(file))


def test_a_file_that_is_not_there_is_refused_with_its_name(tmp_path):
    with pytest.raises(Invalid, match="cannot be read: No such file"):
        read_file(str(tmp_path / "none.yaml"))
