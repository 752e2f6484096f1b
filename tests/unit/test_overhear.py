"""Whose words they are that one process prints and logs."""

import asyncio
import logging
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.steps import a_setup, a_step

from leat_engine.result import Succeeded
from leat_engine.spec.kinds import Function
from leat_runner.kinds.function import FunctionKind
from leat_runner.overhear import LINE_CHARS, SPEAKS, Speech, overhearing

MODULE = """
import asyncio, logging, sys, threading, contextvars
import leat

taken = sys.stdout
own = logging.StreamHandler()
shop = logging.getLogger("shop.orders")

@leat.step
def plain(word):
    print("plain", word)
    print("kept", word, file=taken)
    print("oops", word, file=sys.stderr)

@leat.step
async def slow(word, turns=3):
    for turn in range(turns):
        print(word, end="")
        await asyncio.sleep(0)
        print("", turn)

@leat.step
async def unended():
    sys.stdout.write("a\\r\\nb")
    sys.stdout.writelines(["c", "d"])

@leat.step
async def logs():
    shop.debug("not heard")
    shop.info("sold %d", 3)
    try:
        1 / 0
    except ZeroDivisionError:
        shop.exception("no")

@leat.step
def thread():
    work = threading.Thread(target=contextvars.copy_context().run, args=(print, "from within"))
    work.start()
    work.join()

@leat.step
async def silent():
    pass
"""


@dataclass
class Heard:
    """The lines of one attempt."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, stream, text, at=None):  # noqa: ARG002 - the port's signature
        self.lines.append((stream, text))

    @property
    def texts(self):
        return [text for _, text in self.lines]


@contextmanager
def a_kind(tmp_path):
    source = tmp_path / "words.py"
    source.write_text(MODULE)
    with overhearing():
        yield FunctionKind(a_setup(functions=str(source)))


async def said(kind, name, **arguments):
    heard = Heard()
    fields = Function.model_validate({"name": name, "with": arguments})
    assert isinstance(await kind.execute(a_step(log=heard), fields), Succeeded)
    return heard


async def test_what_a_function_prints_is_heard_and_does_not_go_to_the_process(tmp_path, capsys):
    with a_kind(tmp_path) as kind:
        heard = await said(kind, "plain", word="a")
        print("of nobody")  # noqa: T201  what is tested
    assert heard.lines == [("stdout", "plain a"), ("stdout", "kept a"), ("stderr", "oops a")]
    assert capsys.readouterr() == ("of nobody\n", "")


async def test_functions_that_run_at_one_time_are_told_apart(tmp_path):
    with a_kind(tmp_path) as kind:
        one, two = await asyncio.gather(said(kind, "slow", word="one"), said(kind, "slow", word="two"))
    assert one.texts == ["one 0", "one 1", "one 2"]
    assert two.texts == ["two 0", "two 1", "two 2"]


async def test_a_line_that_does_not_end_is_heard_at_the_end(tmp_path):
    with a_kind(tmp_path) as kind:
        assert (await said(kind, "unended")).texts == ["a", "bcd"]


async def test_what_a_function_logs_from_info_on_is_heard_with_its_traceback(tmp_path):
    with a_kind(tmp_path) as kind:
        lines = (await said(kind, "logs")).lines
    assert lines[0] == ("stderr", "INFO shop.orders: sold 3")
    assert lines[1] == ("stderr", "ERROR shop.orders: no")
    assert lines[-1] == ("stderr", "ZeroDivisionError: division by zero")


async def test_a_thread_with_the_functions_context_is_heard(tmp_path):
    with a_kind(tmp_path) as kind:
        assert (await said(kind, "thread")).texts == ["from within"]


async def test_a_function_that_says_nothing_has_no_lines(tmp_path):
    with a_kind(tmp_path) as kind:
        assert (await said(kind, "silent")).lines == []
        assert SPEAKS.get() is None


async def test_what_the_log_itself_prints_is_not_heard_again(tmp_path, capsys):
    heard = Heard()

    def loud(stream, text, at=None):
        print("debug:", text)  # noqa: T201
        heard(stream, text, at)

    with a_kind(tmp_path) as kind:
        await kind.execute(a_step(log=loud), Function.model_validate({"name": "thread"}))
    assert heard.texts == ["from within"]
    assert capsys.readouterr().out == "debug: from within\n"


def test_afterwards_all_is_as_it_was():
    root = logging.getLogger()
    before = (sys.stdout, sys.stderr, root.level, list(root.handlers), [each.level for each in root.handlers])
    with overhearing():
        assert sys.stdout is not before[0]
        assert sys.stdout.encoding == before[0].encoding
    assert (sys.stdout, sys.stderr, root.level, list(root.handlers), [each.level for each in root.handlers]) == before


def test_what_the_process_logs_is_no_more_than_before(capsys):
    root, handler = logging.getLogger(), logging.StreamHandler(sys.stderr)
    root.addHandler(handler)
    try:
        with overhearing():
            logging.getLogger("library").info("chatter")
            logging.getLogger("library").warning("news")
    finally:
        root.removeHandler(handler)
    assert capsys.readouterr().err == "news\n"


@given(st.lists(st.text(alphabet="ab\n", max_size=9), max_size=30))
def test_lines_do_not_depend_on_the_pieces_they_come_in(pieces):
    heard, whole = Heard(), "".join(pieces)
    speech = Speech(heard)
    for piece in pieces:
        speech.write("stdout", piece)
    speech.end()
    *lines, rest = whole.split("\n")
    assert heard.texts == [*lines, *([rest] if rest else [])]


@pytest.mark.parametrize("length", [LINE_CHARS, LINE_CHARS + 1, 3 * LINE_CHARS])
def test_a_line_without_an_end_does_not_grow_without_bound(length):
    heard = Heard()
    speech = Speech(heard)
    for _ in range(length):
        speech.write("stdout", "x")
    speech.end()
    assert sum(map(len, heard.texts)) == length
    assert max(map(len, heard.texts)) <= LINE_CHARS
