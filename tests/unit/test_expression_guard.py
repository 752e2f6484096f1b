import time
from typing import Any

import pytest

from leat_engine import limits
from leat_engine.errors import ExpressionError, Rejected
from leat_engine.expression import compile_template

BINDINGS: dict[str, Any] = {"inputs": {"big": list(range(9_900)), "text": "a" * 200_000}}


def cost_of_failing(text: str) -> tuple[str, float]:
    """What is said of an expression, and the CPU time until it was said."""
    start = time.thread_time()
    with pytest.raises((ExpressionError, Rejected)) as caught:
        compile_template(text, "x", {"inputs": None}).evaluate(BINDINGS)
    return str(caught.value), time.thread_time() - start


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # Whichever of two bounds is met first: that depends on the machine.
        (
            "${ inputs.big.map(x, inputs.big.map(y, inputs.big.map(z, x * y * z))) }",
            "more than 10000 elements|takes more",
        ),
        ("${ inputs.big.all(x, inputs.big.all(y, true)) }", "more than 10000 elements|takes more"),
        ("${ inputs.big.map(x, inputs.text) }", "builds lists of more than"),
        ("${ inputs.big.all(x, inputs.text.replace('a', 'b').size() > 0) }", "takes more than"),
        ("${ ['aaaa']" + ".map(x, x + x + x + x + x + x + x + x)" * 10 + " }", "can copy what it reads"),
        ("${ inputs.text.replace('a', inputs.text) }", "would make a text of"),
        ("${ inputs.big.map(x, string(x)).join(inputs.text) }", "would make a text of"),
        ("${ inputs.text + inputs.text + inputs.text + inputs.text + inputs.text + inputs.text }", "more than 1048576"),
    ],
)
def test_a_bomb_ends_with_an_error_before_it_takes_a_second(text, said):
    message, seconds = cost_of_failing(text)
    assert any(each in message for each in said.split("|"))
    assert seconds < 1


def test_a_large_list_is_mapped_in_time():
    values = compile_template("${ inputs.big.map(x, x + 1) }", "x", {"inputs": None}).evaluate(BINDINGS)
    assert values == list(range(1, 9_901))


def test_loops_inside_loops_build_their_own_lists():
    names = {"inputs": None}
    nested = compile_template("${ [1, 2].map(x, [10, 20].map(y, x * y)).map(l, l.filter(n, n != 20)) }", "x", names)
    assert nested.evaluate(BINDINGS) == [[10], [40]]


def test_after_a_stopped_evaluation_the_next_one_works():
    cost_of_failing("${ inputs.big.all(x, inputs.text.replace('a', 'b').size() > 0) }")
    assert compile_template("${ [1, 2].map(x, x) }", "x", {}).evaluate({}) == [1, 2]


def test_the_largest_text_is_possible():
    text = compile_template("${ inputs.t }", "x", {"inputs": None}).evaluate(
        {"inputs": {"t": "a" * limits.OUTPUT_BYTES}}
    )
    assert len(text) == limits.OUTPUT_BYTES


def test_the_functions_of_the_guard_cannot_be_called_by_name():
    with pytest.raises(Rejected):
        compile_template("${ @leat_go_on() }", "x", {})
