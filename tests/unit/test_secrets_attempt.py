"""What leaves an attempt that had a secret, whatever its kind does with it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, cast
from uuid import uuid4

import pytest
import structlog
from pydantic import BaseModel, TypeAdapter, field_validator
from tests.support.family import no_family
from tests.support.gates import no_gates

from leat_engine.commit import Ended, Late
from leat_engine.kind import Kind, StepContext, Weight
from leat_engine.lines import NewLine
from leat_engine.plan import compile_plan
from leat_engine.result import ErrorType, Failed, Outcome, State, StepError, Succeeded
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import Outward, load_models
from leat_engine.store import Store
from leat_engine.store.artifacts import ArtifactRows
from leat_engine.view import RunView
from leat_runner.attempt import Attempt, Means, carry_out
from leat_runner.secrets import Given, SecretReader, mask_held
from leat_runner.shelf import Shelf
from leat_runner.voice import Voice

VALUE = "gehe1m-und-lang-genug"


@dataclass
class Careless:
    """A kind of a third party. ``act`` gets the value."""

    act: Any
    weight: ClassVar[Weight] = Weight.IO

    async def execute(self, step: StepContext, fields: BaseModel) -> Outcome:
        value = fields.model_dump()["env"]["T"]
        step.log("stdout", f"the token is {value}")
        result: Outcome = await self.act(value)
        return result

    async def close(self) -> None:
        """Nothing is held."""


class Choosy(BaseModel):
    """Fields whose check breaks, which is no error of validation."""

    env: Annotated[dict[str, str], Outward()]

    @field_validator("env")
    @classmethod
    def _check(cls, value: dict[str, str]) -> dict[str, str]:
        if "${" not in value["T"]:
            raise TypeError(f"no good: {value}")
        return value


def attempt_of(models: Any = None, **step: Any) -> Attempt:
    body = {"name": "s", "script": {"run": "true", "env": {"T": "${ secret('pay', 'token') }"}}, **step}
    plan = compile_plan(parse_spec({"steps": [body]}), models or load_models(), "r")
    view = RunView(uuid4(), plan, "shop", "run", {}, complete=True)
    return Attempt(view, plan.steps[1], 1, datetime.now(UTC))


class Listener(Voice):
    """Hears lines, of which the store would be the next to know."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        super().__init__(cast("Store", SimpleNamespace(logs=self)))
        self.start()

    async def write(self, lines: Sequence[NewLine]) -> None:
        self.lines += [line.text for line in lines]


def means(act: Any, reader: SecretReader | None = None) -> Means:
    kinds: dict[str, Kind] = {"script": Careless(act)}
    return Means(
        kinds,
        reader or SecretReader([Given({"pay": {"token": VALUE}}, "x")]),
        Listener(),
        no_gates(),
        no_family(),
        Shelf(cast("ArtifactRows", None), None),
    )


async def result_of(act: Any, reader: SecretReader | None = None, **step: Any) -> Ended | Late:
    return await carry_out(attempt_of(**step), means(act, reader))


async def test_what_a_step_says_is_masked_before_it_is_kept():
    given = means(_giving)
    await carry_out(attempt_of(), given)
    assert cast("Listener", given.voice).lines == ["the token is ***"]


async def _broken(value: str) -> Outcome:
    raise RuntimeError(value)


async def _late(value: str) -> Outcome:
    raise TimeoutError(value)


async def _strict(value: str) -> Outcome:
    TypeAdapter(list[int]).validate_python([f"{value}{'~' * 80}{value}"])
    return Succeeded()


async def _failing(value: str) -> Outcome:
    return Failed(StepError(value, value, reason=value, details={value: [value]}))


async def _giving(value: str) -> Outcome:
    return Succeeded({value: [value, f"<{value}>"]})


@pytest.mark.parametrize("act", [_broken, _late, _strict, _failing, _giving])
async def test_no_outcome_of_a_kind_and_no_line_of_its_defect_holds_the_value(act, capsys):
    processors = [structlog.processors.format_exc_info, mask_held, structlog.processors.JSONRenderer()]
    structlog.configure(processors=processors, cache_logger_on_first_use=False)
    try:
        ended = await result_of(act)
    finally:
        structlog.reset_defaults()
    assert isinstance(ended, Ended)
    shown = f"{ended.result.output} {ended.result.error} {capsys.readouterr()}"
    assert VALUE[:12] not in shown
    assert VALUE[-12:] not in shown
    assert "***" in shown


async def test_no_field_that_breaks_its_model_tells_the_value(capsys):
    processors = [structlog.processors.format_exc_info, mask_held, structlog.processors.JSONRenderer()]
    structlog.configure(processors=processors, cache_logger_on_first_use=False)
    try:
        ended = await carry_out(attempt_of({"script": Choosy}), means(_giving))
    finally:
        structlog.reset_defaults()
    assert isinstance(ended, Ended)
    assert ended.result.error is not None
    assert ended.result.error["message"] == "TypeError: no good: {'T': '***'}"
    assert VALUE not in capsys.readouterr().out


async def test_a_retry_condition_sees_the_error_as_it_will_be_stored():
    retry = {"max": 1, "when": "${ error.message == '***' }"}
    late = await result_of(_failing, retry=retry)
    assert isinstance(late, Late)


class Silent:
    """An API server that never answers."""

    async def read(self, _namespace: str, _ref: Any) -> bytes | None:
        await asyncio.Event().wait()
        return None

    def place(self, _namespace: str, _ref: Any) -> str:
        return "nowhere"

    async def close(self) -> None:
        """Nothing is held."""


async def test_reading_a_secret_is_part_of_the_attempt_and_of_its_timeout():
    ended = await result_of(_giving, SecretReader([Silent()]), timeout="50ms")
    assert isinstance(ended, Ended)
    assert ended.result.error is not None
    assert ended.result.error["type"] == ErrorType.TIMEOUT


async def test_a_secret_that_is_nowhere_fails_the_step_before_its_kind_is_asked():
    ended = await result_of(_broken, SecretReader([Given({}, "an entry in s.yaml")]))
    assert isinstance(ended, Ended)
    assert ended.result.state is State.FAILED
    assert ended.result.error is not None
    assert ended.result.error["type"] == ErrorType.SECRET_NOT_FOUND
