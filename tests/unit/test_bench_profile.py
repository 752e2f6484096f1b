"""What the profile counts."""

from bench.profile import own_time, total_time

STACKS = [
    "main (leat_runner/__main__.py:10);decide (leat_engine/decide.py:5);sorted (lib.py:1) 3",
    "main (leat_runner/__main__.py:10);decide (leat_engine/decide.py:7) 2",
]


def test_own_time_belongs_to_the_innermost_function_whatever_its_line() -> None:
    assert own_time(STACKS) == {"sorted (lib.py)": 3, "decide (leat_engine/decide.py)": 2}


def test_total_time_is_counted_for_every_function_of_leat_on_the_stack() -> None:
    assert total_time(STACKS) == {"main (leat_runner/__main__.py)": 5, "decide (leat_engine/decide.py)": 5}


def test_a_function_that_calls_itself_is_counted_once_a_sample() -> None:
    assert total_time(["walk (leat_a.py:1);walk (leat_a.py:1) 4"]) == {"walk (leat_a.py)": 4}
