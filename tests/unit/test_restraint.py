"""Limits and cache of steps as they are written: what is compiled, and what is answered to mistakes."""

from typing import Any

import pytest

from leat_engine.errors import ExpressionError, Rejected
from leat_engine.plan import Plan, compile_plan
from leat_engine.redaction import Redaction
from leat_engine.restraint import Fuse, Rate, Slots, key_of
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models

CALL = {"name": "call", "function": {"name": "f"}}


def plan(*steps: dict[str, Any], **spec: Any) -> Plan:
    return compile_plan(parse_spec({"steps": [*steps], **spec}), load_models(), "r")


def reasons(*steps: dict[str, Any], **spec: Any) -> dict[str, str]:
    with pytest.raises(Rejected) as caught:
        plan(*steps, **spec)
    return {reason.path: reason.message for reason in caught.value.reasons}


def test_a_step_without_limits_has_no_restraint():
    assert plan(CALL).steps[1].restraint is None
    assert plan(CALL).slots is None


def test_limits_have_defaults():
    limits = {"concurrency": {}, "rateLimit": {"rate": 4, "per": "2s"}, "breaker": {}}
    restraint = plan({**CALL, **limits}).steps[1].restraint
    assert restraint is not None
    assert restraint.slots == Slots(None, 1, "queue")
    assert restraint.rate == Rate(None, 0.5, 1)
    assert restraint.fuse == Fuse(None, 5, 60.0, 30.0)


def test_a_step_needs_the_steps_that_its_keys_read():
    first = {"name": "first", "transform": {"id": 1}}
    compiled = plan(first, {**CALL, "cache": {"key": "${ steps.first.output.id }", "ttl": "1m"}})
    assert [edge.step for edge in compiled.steps[2].needs] == [1]


@pytest.mark.parametrize(
    ("fields", "path", "said"),
    [
        ({"concurrency": {"limit": 0}}, "spec.steps[0].concurrency.limit", "found 0, expected"),
        ({"concurrency": {"onConflict": "replace"}}, "spec.steps[0].concurrency.onConflict", "'queue' or 'reject'"),
        ({"concurrency": {"key": "${ input.x }"}}, "spec.steps[0].concurrency.key", "did you mean"),
        ({"rateLimit": {}}, "spec.steps[0].rateLimit.rate", "is required and missing"),
        ({"rateLimit": {"rate": 1, "per": "0s"}}, "spec.steps[0].rateLimit.per", "expected more than no time"),
        ({"rateLimit": {"rate": 1, "prr": "1s"}}, "spec.steps[0].rateLimit.prr", "did you mean 'per'?"),
        ({"breaker": {"coolDown": "0s"}}, "spec.steps[0].breaker.coolDown", "expected more than no time"),
        ({"breaker": {"failures": 101}}, "spec.steps[0].breaker.failures", "found 101"),
        ({"cache": {"ttl": "1m"}}, "spec.steps[0].cache.key", "is required and missing"),
        ({"cache": {"key": "${ secret('a', 'b') }", "ttl": "1m"}}, "spec.steps[0].cache.key", "secret"),
        ({"cache": {"key": "x" * 257, "ttl": "1m"}}, "spec.steps[0].cache.key", "257 characters, the limit is 256"),
        ({"cache": {"key": "", "ttl": "1m"}}, "spec.steps[0].cache.key", "found '', expected a text that is not empty"),
        ({"concurrency": 3}, "spec.steps[0].concurrency", "found 3, expected an object"),
    ],
)
def test_a_mistake_is_answered_with_its_path(fields, path, said):
    found = reasons({**CALL, **fields})
    assert said in found[path]


def test_steps_that_no_runner_executes_have_nothing_to_limit():
    found = reasons({"name": "a", "transform": 1, "concurrency": {}, "rateLimit": {"rate": 1}})
    assert "has no effects to limit" in found["spec.steps[0].concurrency"]
    assert "has no effects to limit" in found["spec.steps[0].rateLimit"]


def test_the_key_of_runs_may_not_read_steps():
    assert "steps" in reasons(CALL, concurrency={"key": "${ steps.call.output }"})["spec.concurrency.key"]


def test_a_key_is_text_that_people_may_see():
    inputs = {"card": {"type": "string", "sensitive": True}, "no": {"type": "integer", "default": 7}}
    compiled = plan({**CALL, "concurrency": {"key": "${ inputs.no }"}}, inputs=inputs).steps[1].restraint
    assert compiled is not None
    assert compiled.slots is not None
    key = compiled.slots.key
    assert key_of(key, "w/s", {"inputs": {"no": 7}}, Redaction()) == "7"
    assert key_of(None, "w/s", {}, Redaction()) == "w/s"
    for value, redaction, said in (
        ("", Redaction(), "the key is empty"),
        ("x" * 300, Redaction(), "300 characters, the limit is 256"),
        ("4111-1111", Redaction(("4111-1111",)), "holds a sensitive input"),
        ("a\0", Redaction(), "NUL"),
    ):
        with pytest.raises(ExpressionError, match=r"^spec.steps\[0\].concurrency.key: .*" + said):
            key_of(key, "w/s", {"inputs": {"no": value}}, redaction)
