from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from leat_engine.limits import OUTPUT_BYTES
from leat_engine.result import Failed, Succeeded
from leat_runner.kinds.output import details, succeeded

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Receipt(BaseModel):
    id: int
    at: datetime


@dataclass
class Line:
    sku: str


@given(JSON)
def test_a_json_value_leaves_a_step_as_it_is(value):
    assert succeeded(value) == Succeeded(value)


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ((1, 2), [1, 2]),
        ({1: "a"}, {"1": "a"}),
        (date(2030, 1, 31), "2030-01-31"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Line("lamp"), {"sku": "lamp"}),
        ([Receipt(id=1, at=datetime(2030, 1, 31, tzinfo=UTC))], [{"id": 1, "at": "2030-01-31T00:00:00Z"}]),
        (float("nan"), None),
    ],
)
def test_the_next_step_sees_what_another_runner_would_read_from_the_store(value, seen):
    assert succeeded(value) == Succeeded(seen)


@pytest.mark.parametrize(("value", "found"), [({1, 2}, "set"), ({"a": object()}, "object"), (2**64, "64-bit")])
def test_a_value_without_a_json_form_is_named_and_not_tried_again(value, found):
    outcome = succeeded(value)
    assert isinstance(outcome, Failed)
    assert (outcome.error.type, outcome.error.retriable) == ("Invalid", False)
    assert found in outcome.error.message


def test_an_output_over_the_limit_fails_and_names_the_limit():
    assert isinstance(succeeded("x" * (OUTPUT_BYTES - 2)), Succeeded)
    outcome = succeeded("x" * (OUTPUT_BYTES - 1))
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "TooLarge"
    assert str(OUTPUT_BYTES) in outcome.error.message


def test_an_error_is_not_lost_over_its_details():
    assert details({"status": 503}) == {"status": 503}
    assert details({"tags": {1}}) == {"omitted": "the details are not JSON: a value of type set was found"}
    assert "over the limit" in details({"body": "x" * 20_000})["omitted"]
