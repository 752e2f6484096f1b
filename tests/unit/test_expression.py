from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_engine.errors import ExpressionError, Rejected
from leat_engine.expression import MEMBERS_OF_RUN, Names, Template, compile_condition, compile_template

NAMES: Names = {
    "inputs": frozenset({"n", "name", "list", "object", "decimal", "missing", "b64"}),
    "steps": frozenset({"charge", "two-words"}),
    "run": MEMBERS_OF_RUN,
    "vars": frozenset({"url"}),
    "now": None,
}
BINDINGS: dict[str, Any] = {
    "inputs": {"n": 10, "name": "Ada", "list": [1, 2.5, None, "x"], "object": {"k": [1]}, "decimal": 2.5},
    "steps": {
        "charge": {"state": "Succeeded", "output": {"risk": 1, "items": [{"price": 3}]}, "error": None},
        "two-words": {"state": "Failed", "output": None, "error": {"status": 503}},
    },
    "run": {"id": "1", "name": "r", "namespace": "shop", "workflow": "order", "phase": "Running"},
    "vars": {"url": "https://example"},
    "now": datetime(2030, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC),
}

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def template(value: Any) -> Template:
    return compile_template(value, "spec.x", NAMES)


def evaluate(value: Any) -> Any:
    return template(value).evaluate(BINDINGS)


def reasons(value: Any) -> str:
    with pytest.raises(Rejected) as caught:
        template(value)
    return str(caught.value)


def failure(value: Any) -> str:
    with pytest.raises(ExpressionError) as caught:
        evaluate(value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${ inputs.n }", 10),
        ("${inputs.list}", [1, 2.5, None, "x"]),
        ("${ steps.charge.output.items[0].price + 1 }", 4),
        ("${ steps['two-words'].error.status }", 503),
        ("${ steps.charge.output.risk > 0.8 }", True),
        ("${ inputs.object }", {"k": [1]}),
        ("${ {'a': '}', 'b': {'c': 1}} }", {"a": "}", "b": {"c": 1}}),
        ("${ '}' + \"${\" }", "}${"),
        (r"${ r'\d}' + '}' }", "\\d}}"),
        ("${ inputs.?missing.orValue('none') }", "none"),
        ("${ has(inputs.missing) }", False),
        ("${ now }", "2030-01-31T12:00:00.500000Z"),
        ("${ now + duration('1h') - now }", "3600s"),
        ("${ duration('3.5s') }", "3.5s"),
        ("${ b'abc' }", "YWJj"),
        ("${ 5u + 1u }", 6),
        ("${ inputs.list.filter(x, x != null).size() }", 3),
        ("${ inputs.list.map(inputs, [inputs]) }", [[1], [2.5], [None], ["x"]]),
        ("${ [3, 1].exists_one(x, x > 2) }", True),
        ("${ ['a', 'b'].join('-') + 'a-b'.replace('-', '+') }", "a-ba+b"),
        ("${ '%s has %d'.format([inputs.name, inputs.n]) }", "Ada has 10"),
        ("${ math.greatest(1, inputs.n) }", 10),
    ],
)
def test_a_single_expression_keeps_its_type(text, value):
    assert evaluate(text) == value
    assert type(evaluate(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("order ${ inputs.n } of ${inputs.name}", "order 10 of Ada"),
        ("<${ inputs.list[2] }>", "<>"),
        ("${ inputs.object }!", '{"k":[1]}!'),
        ("${ inputs.decimal } ${ true }", "2.5 true"),
        ("a $${ b }", "a ${ b }"),
        ("$$${ inputs.n }", "$${ inputs.n }"),
        ("costs $5 {x}", "costs $5 {x}"),
    ],
)
def test_inside_text_values_become_text(text, value):
    assert evaluate(text) == value


def test_a_template_without_expressions_is_constant_and_gives_the_same_object_every_time():
    constant = template({"a": [1, "$${x}"], "b": None})
    assert constant.constant
    assert constant.evaluate({}) == {"a": [1, "${x}"], "b": None}
    assert constant.evaluate({}) is constant.evaluate({})


def test_lists_and_objects_are_evaluated_at_any_depth():
    assert evaluate({"a": ["${ inputs.n }", {"b": "x${ inputs.name }"}], "c": 1}) == {"a": [10, {"b": "xAda"}], "c": 1}


def test_members_named_verbatim_are_left_alone():
    script = compile_template({"run": 'echo "${X}"', "env": {"X": "${ inputs.n }"}}, "s", NAMES, frozenset({"run"}))
    assert script.evaluate(BINDINGS) == {"run": 'echo "${X}"', "env": {"X": 10}}
    assert script.dynamic == {("env", "X")}


@pytest.mark.parametrize("operator", ["+", "-", "*", "/"])
def test_an_integer_meets_a_decimal_number(operator):
    expected = {"+": 12.5, "-": 7.5, "*": 25.0, "/": 4.0}[operator]
    assert evaluate(f"${{ inputs.n {operator} inputs.decimal }}") == expected
    assert evaluate(f"${{ 10 {operator} 2.5 }}") == expected


def test_integers_divide_as_integers():
    assert evaluate("${ inputs.n / 4 }") == 2


@given(json_values)
def test_every_json_value_comes_back_as_it_went_in(value):
    names: Names = {"inputs": frozenset({"v"})}
    bindings = {"inputs": {"v": value}}
    assert compile_template("${ inputs.v }", "x", names).evaluate(bindings) == value
    assert compile_template({"a": ["${ [inputs.v] }"]}, "x", names).evaluate(bindings) == {"a": [[value]]}


@given(json_values)
def test_a_path_alone_gives_what_a_computation_gives(value):
    names: Names = {"inputs": None}
    alone, computed = (compile_template(text, "x", names) for text in ("${ inputs.v }", "${ [inputs.v][0] }"))
    found = alone.evaluate({"inputs": {"v": value}})
    assert found == computed.evaluate({"inputs": {"v": value}})
    assert found is not value or not isinstance(value, list | dict)


def test_what_a_path_gives_is_a_copy():
    value = {"list": [1]}
    found = compile_template("${ inputs.v }", "x", {"inputs": None}).evaluate({"inputs": {"v": value}})
    found["list"].append(2)
    assert value == {"list": [1]}


@given(texts)
def test_no_data_is_ever_evaluated(text):
    assert compile_template("a${ inputs.v }b", "x", {"inputs": None}).evaluate({"inputs": {"v": text}}) == f"a{text}b"


@given(st.text(alphabet="a${}'\" x"))
def test_any_text_is_a_template_or_rejected(text):
    with suppress(Rejected):
        compile_template(text, "x", NAMES)


def test_it_knows_the_steps_that_are_read_and_not_those_that_are_only_mentioned():
    value = {
        "a": "${ steps.charge.output }",
        "b": "${ 'steps.ghost' }",
        "c": "steps.ghost",
        "d": "${ steps['two-words'] }",
    }
    assert template(value).reads == {"charge", "two-words"}
    assert template("${ inputs.list.map(steps, steps.x) }").reads == frozenset()


def test_only_what_is_read_is_looked_at():
    class Guarded(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            assert key == "n"
            return 1

        def __iter__(self):
            raise AssertionError("the whole object was copied")

    assert template("${ inputs.n + 1 }").evaluate({"inputs": Guarded(n=1)}) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${ steps.chrage.output }", "there is no step 'chrage'; did you mean 'charge'?"),
        ("${ steps.charge.outptu }", "there is no field of steps.charge 'outptu'; did you mean 'output'?"),
        ("${ inputs.nam }", "there is no input 'nam'; did you mean 'name'?"),
        ("${ vars.uri }", "there is no variable 'uri'; did you mean 'url'?"),
        ("${ run.nme }", "did you mean 'name'?"),
        ("${ inptus.n }", "there is no variable 'inptus'; did you mean 'inputs'?"),
        ("${ siez(inputs.name) }", "there is no function 'siez'; did you mean 'size'?"),
        ("${ inputs.name.startWith('a') }", "there is no function 'startWith'; did you mean 'startsWith'?"),
        ("${ lenght(inputs.name) }", "there is no function 'lenght'"),
        ("${ lenght + 1 }", "there is no variable 'lenght'"),
        ("${ steps.two-words.output }", 'read as steps["my-step"]'),
        ("${ steps[inputs.name].output }", "reads `steps` as a whole"),
        ("${ 1 + }", "  1 +\n     ^"),
        ("${ 'a' + 1 }", "found no matching overload"),
        ("${ inputs.n", "no closing `}`"),
        ("${ }", "is empty"),
        ("${ " + "(" * 40 + "1" + ")" * 40 + " }", "nested deeper than 32"),
        ("${ '" + "a" * 9000 + "' }", "an expression may have 8192"),
        ({"${ inputs.n }": 1}, "only values may"),
    ],
)
def test_a_wrong_expression_is_rejected_with_its_place(text, said):
    assert said in reasons(text)
    assert reasons(text).startswith("spec.x")


def test_every_wrong_expression_is_named_with_its_field():
    with pytest.raises(Rejected) as caught:
        template({"a": ["${ inputs.q }"], "b": "x ${ steps.z } ${ 1 + }"})
    assert [reason.path for reason in caught.value.reasons] == ["spec.x.a[0]", "spec.x.b", "spec.x.b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${ steps.charge.output.nope }", '}: key not found in the object: "nope"'),
        ("${ inputs.n / 0 }", "divide by zero"),
        ("${ inputs.decimal / 0 }", "inf, which JSON has no number for"),
        ("${ 0.0 / 0.0 }", "nan, which JSON has no number for"),
        ("${ 9223372036854775807 + 1 }", "integer overflow"),
        ("${ {1: 2} }", "keys must be strings"),
        ("${ inputs.?n }", "end it with .orValue(...)"),
        ("${ type(1) }", "which is no JSON value"),
        ("${ inputs.list.join(',') }", "join takes a list of texts"),
        ("a ${ inputs.name + 1 } b", "overload"),
    ],
)
def test_a_failing_expression_names_its_field_and_text(text, said):
    assert said in failure({"f": [text]})
    assert failure({"f": [text]}).startswith("spec.x.f[0]: ${ ")


@pytest.mark.parametrize("value", ["a\0b", {"a\0": 1}, ["\\\0"]])
def test_a_nul_character_is_an_error_and_never_cut_off(value):
    with pytest.raises(ExpressionError, match="NUL"):
        compile_template("${ inputs.v }", "x", {"inputs": None}).evaluate({"inputs": {"v": value}})


def test_a_text_that_spells_a_nul_character_is_none():
    names: Names = {"inputs": None}
    assert compile_template("${ inputs.v }", "x", names).evaluate({"inputs": {"v": "\\u0000"}}) == "\\u0000"


@pytest.mark.parametrize("value", [True, False, "${ inputs.n > 5 }", "${ steps.charge.output.ok }"])
def test_a_condition_is_a_boolean_or_an_expression(value):
    compile_condition(value, "spec.when", NAMES)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("inputs.n > 5", "write ${ inputs.n > 5 }"),
        ("x ${ true }", "write one ${ ... }"),
        ("${ 1 + 1 }", "gives int; a condition must give true or false"),
    ],
)
def test_what_is_no_condition_is_rejected(value, said):
    with pytest.raises(Rejected, match=r"spec\.when") as caught:
        compile_condition(value, "spec.when", NAMES)
    assert said in str(caught.value)


def test_a_condition_that_gives_no_boolean_fails():
    condition = compile_condition("${ inputs.n }", "spec.when", NAMES)
    with pytest.raises(ExpressionError, match="gives 10; a condition must give true or false"):
        condition.evaluate(BINDINGS)


@pytest.mark.parametrize("text", ["${ inputs.object }", "${ {'x': inputs.object}.x }"])
def test_an_object_comes_out_in_the_order_of_its_keys(text):
    keys = [f"k{number:02}" for number in range(20)]
    bindings = {"inputs": {"object": dict.fromkeys(reversed(keys))}}
    assert [list(template(text).evaluate(bindings)) for _ in range(10)] == [keys] * 10


@given(st.dictionaries(texts, st.integers(-9, 9), max_size=12))
def test_a_macro_visits_an_object_in_the_order_of_its_keys(value):
    bindings = {"inputs": {"object": value}}
    assert template("${ inputs.object.map(k, k) }").evaluate(bindings) == sorted(value)
    nested = template("${ [1, 2].map(n, inputs.object.filter(k, inputs.object[k] > 0)) }")
    assert nested.evaluate(bindings) == [sorted(key for key in value if value[key] > 0)] * 2
    assert template("${ inputs.object.all(k, inputs.object[k] < 10) }").evaluate(bindings) is True
