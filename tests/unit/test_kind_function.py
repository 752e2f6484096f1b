import asyncio
import contextvars
import subprocess
import sys
import threading
from textwrap import dedent

import pytest
from tests.support.steps import STEP, a_setup, a_step

import leat
from leat_engine.result import Failed, Succeeded
from leat_engine.spec.kinds import Function
from leat_runner.kinds.function import TRACEBACK, FunctionKind
from leat_runner.kinds.user_code import FunctionsUnusable, load_functions

MODULE = """
    import asyncio, contextvars, threading
    from typing import Literal
    from pydantic import BaseModel
    import leat

    TENANT = contextvars.ContextVar("tenant", default="nobody")
    RELEASE = threading.Event()

    class Card(BaseModel):
        number: str
        months: int = 12

    @leat.step
    async def noop(): ...

    @leat.step
    async def add(a: int, b: int = 10):
        return a + b

    @leat.step(name="charge-card")
    def charge(card: Card, currency: Literal["EUR", "SEK"] = "EUR") -> Card:
        assert isinstance(card, Card)
        return Card(number=card.number[-4:], months=card.months + 1)

    @leat.step
    def where():
        return {"thread": threading.current_thread().name, "tenant": TENANT.get()}

    @leat.step
    async def annotated(info: leat.StepContext):
        return info.idempotency_key

    @leat.step
    def named(ctx, x):
        return [ctx.run_name, x]

    @leat.step
    def options(**options):
        return options

    @leat.step
    async def decline():
        raise leat.StepFailed("no money", type="CardDeclined", retriable=False, details={"code": 51})

    class OutOfStock(leat.StepFailed): ...

    @leat.step
    def order():
        raise OutOfStock("no lamps")

    @leat.step
    def deep(n: int = 400):
        return 1 / 0 if n == 0 else deep(n - 1)

    @leat.step
    async def give_up():
        raise SystemExit("bye")

    @leat.step
    def stop():
        raise StopIteration

    @leat.step
    async def misled():
        task = asyncio.ensure_future(asyncio.Event().wait())
        task.cancel()
        await task

    @leat.step
    async def forever():
        await asyncio.Event().wait()

    @leat.step
    def blocked():
        RELEASE.wait(20)

    @leat.step
    def a_set():
        return {1}

    def helper(): ...
"""


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "shop.py"
    path.write_text(dedent(MODULE))
    return str(path)


@pytest.fixture
async def kind(module):
    kind = FunctionKind(a_setup(functions=(module,)))
    yield kind
    await kind.close()


async def call(kind, name, **arguments):
    return await kind.execute(a_step(), Function.model_validate({"name": name, "with": arguments}))


def load(tmp_path, text, name="bad.py"):
    path = tmp_path / name
    path.write_text(dedent(text))
    return load_functions([str(path)])


async def test_an_async_function_gets_its_arguments_by_name(kind):
    assert await call(kind, "noop") == Succeeded()
    assert await call(kind, "add", a=1) == Succeeded(11)
    assert await call(kind, "add", a=1, b=2) == Succeeded(3)


async def test_a_pydantic_parameter_gets_a_model_and_a_returned_model_becomes_an_object(kind):
    outcome = await call(kind, "charge-card", card={"number": "4242424242424242"})
    assert outcome == Succeeded({"number": "4242", "months": 13})


async def test_a_plain_function_runs_in_a_thread_with_the_context_of_the_caller(kind):
    tenant = next(var for var in _vars(kind) if var.name == "tenant")
    token = tenant.set("acme")
    try:
        outcome = await call(kind, "where")
    finally:
        tenant.reset(token)
    assert outcome.output["tenant"] == "acme"
    assert outcome.output["thread"] != threading.current_thread().name


def _vars(kind):
    scope = kind._functions["where"].call.__globals__
    return [value for value in scope.values() if isinstance(value, contextvars.ContextVar)]


async def test_the_context_goes_to_the_parameter_annotated_with_it_or_called_ctx(kind):
    assert await call(kind, "annotated") == Succeeded(STEP.idempotency_key)
    assert await call(kind, "named", x=[1]) == Succeeded(["order-x7k2p", [1]])


async def test_a_function_that_takes_any_arguments_gets_them_all(kind):
    assert await call(kind, "options", a=1, b={"c": None}) == Succeeded({"a": 1, "b": {"c": None}})


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("add", {"a": "secret"}, "function.with.a: Input should be a valid integer"),
        ("add", {"b": 1}, "function.with.a: is required and was not given"),
        ("add", {"a": 1, "c": 2}, "function.with.c: is no parameter of the function; it takes a, b"),
        ("noop", {"a": 1}, "'noop' takes no arguments, found a"),
        ("charge-card", {"card": {"months": None}}, "function.with.card.months: Input should be a valid integer"),
        ("charge-card", {"card": {"number": "1"}, "currency": "USD"}, "Input should be 'EUR' or 'SEK', found str"),
        ("named", {"x": 1, "ctx": 2}, "function.with.ctx: is no parameter"),
    ],
)
async def test_wrong_arguments_name_the_parameter_and_never_the_value(kind, name, arguments, message):
    error = (await call(kind, name, **arguments)).error
    assert (error.type, error.reason, error.retriable) == ("Invalid", "BadArguments", False)
    assert message in error.message
    assert "secret" not in error.message


async def test_an_unknown_function_is_answered_with_the_nearest_name(kind, module):
    error = (await call(kind, "charge_card")).error
    assert (error.type, error.reason) == ("NotFound", "FunctionNotFound")
    assert "no function 'charge_card'; did you mean 'charge-card'?" in error.message
    assert module in error.message


async def test_a_pool_without_functions_says_how_to_load_some():
    kind = FunctionKind(a_setup())
    error = (await call(kind, "add")).error
    assert "loaded from LEAT_FUNCTIONS (no module)" in error.message
    await kind.close()


async def test_a_chosen_failure_is_taken_as_it_is(kind):
    error = (await call(kind, "decline")).error
    assert (error.type, error.message, error.retriable, error.details) == (
        "CardDeclined",
        "no money",
        False,
        {"code": 51},
    )


async def test_a_subclass_of_step_failed_names_the_type(kind):
    error = (await call(kind, "order")).error
    assert (error.type, error.message, error.retriable) == ("OutOfStock", "no lamps", True)


async def test_an_exception_is_a_failure_of_its_class_with_the_end_of_its_traceback(kind):
    error = (await call(kind, "deep")).error
    assert (error.type, error.message, error.retriable) == ("ZeroDivisionError", "division by zero", True)
    assert error.details["traceback"].endswith("ZeroDivisionError: division by zero\n")
    assert len(error.details["traceback"]) <= TRACEBACK
    assert "leat_runner" not in error.details["traceback"]


@pytest.mark.parametrize(("name", "type_"), [("give_up", "SystemExit"), ("stop", "StopIteration")])
async def test_an_exception_that_would_end_the_runner_only_fails_the_step(kind, name, type_):
    assert (await call(kind, name)).error.type == type_


async def test_awaiting_something_that_was_cancelled_fails_the_step_and_does_not_cancel_it(kind):
    assert (await call(kind, "misled")).error.type == "CancelledError"


async def test_cancelling_reaches_an_async_function(kind):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await call(kind, "forever")


async def test_a_cancelled_plain_function_is_left_behind(kind):
    release = kind._functions["blocked"].call.__globals__["RELEASE"]
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await call(kind, "blocked")
        assert await call(kind, "named", x=1) == Succeeded(["order-x7k2p", 1])
    finally:
        release.set()


def test_a_function_that_never_returns_does_not_keep_the_process_from_ending(module):
    program = """if True:
        import asyncio, sys
        from leat_engine.spec.kinds import Function
        from leat_runner.kinds.function import FunctionKind
        from tests.support.steps import STEP, a_setup

        async def main():
            kind = FunctionKind(a_setup(functions=(sys.argv[1],)))
            task = asyncio.ensure_future(kind.execute(STEP, Function(name="blocked")))
            await asyncio.wait([task], timeout=0.05)
            task.cancel()

        asyncio.run(main())
    """
    assert subprocess.run([sys.executable, "-c", program, module], timeout=10, check=False).returncode == 0


async def test_a_return_value_that_is_not_json_fails(kind):
    outcome = await call(kind, "a_set")
    assert isinstance(outcome, Failed)
    assert outcome.error.reason == "OutputNotJson"


def test_a_marked_function_stays_an_ordinary_function():
    @leat.step(name="x")
    def double(n):
        return 2 * n

    assert double(2) == 4


def test_functions_are_loaded_from_an_installed_module_too(tmp_path, monkeypatch):
    (tmp_path / "warehouse_steps.py").write_text("import leat\n@leat.step\ndef pick(): ...\nagain = pick\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert set(load_functions(["warehouse_steps"])) == {"pick"}


def test_annotations_written_as_text_are_read(tmp_path):
    text = """
        from __future__ import annotations
        import leat
        @leat.step
        def f(info: leat.StepContext | None, n: int): ...
    """
    function = load(tmp_path, text)["f"]
    assert (function.context, function.parameters) == ("info", ("n",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_like_this", "bad.py cannot be imported: ModuleNotFoundError"),
        ("def f(:", "bad.py cannot be imported: SyntaxError"),
        ("def f(): ...", "bad.py has no function marked with @leat.step"),
        ("import leat\n@leat.step\ndef f(a, /): ...", "takes 'a' by position"),
        ("import leat\n@leat.step\ndef f(*a): ...", r"takes '\*a' by position"),
        ("import leat\n@leat.step\ndef f():\n  yield 1", "is a generator; return a list"),
        ("import leat\n@leat.step\ndef f(a: 'Nowhere'): ...", "annotation that cannot be read: name 'Nowhere'"),
        ("import leat\n@leat.step\ndef f(a: object.__class__.__call__): ...", "type cannot be made from JSON"),
        ("import leat\n@leat.step\ndef f(): ...\n@leat.step(name='f')\ndef g(): ...", "are both called 'f'"),
    ],
)
def test_functions_that_cannot_be_used_are_refused_when_the_runner_starts(tmp_path, text, message):
    with pytest.raises(FunctionsUnusable, match=message):
        load(tmp_path, text)


def test_a_file_that_is_not_there_is_refused():
    with pytest.raises(FunctionsUnusable, match=r"LEAT_FUNCTIONS: nowhere.py cannot be imported: FileNotFoundError"):
        load_functions(["nowhere.py"])
