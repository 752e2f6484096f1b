"""Work that goes on without its runner is ended when a run is stopped, or when nobody can go on with it."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, cast
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel
from tests.support.family import no_family
from tests.support.gates import no_gates

from leat_engine.commit import Ended, Late
from leat_engine.job import StepKey, effect_key
from leat_engine.kind import Kind, StepContext, Weight
from leat_engine.plan import compile_plan
from leat_engine.records import Block
from leat_engine.result import Outcome, Phase, Result, State, Succeeded
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models
from leat_engine.store import Store
from leat_engine.store.artifacts import ArtifactRows
from leat_engine.view import RunView
from leat_runner.advance import advance
from leat_runner.attempt import Attempt, Means, carry_out
from leat_runner.secrets import SecretReader
from leat_runner.shelf import Shelf
from leat_runner.voice import Voice

PLAN = compile_plan(
    parse_spec(
        {
            "inputs": {"n": {"type": "integer"}},
            "steps": [
                {"name": "left", "container": {"image": "x"}},
                {"name": "done", "container": {"image": "x"}},
                {"name": "never", "container": {"image": "x"}, "needs": ["left"]},
                {"name": "other", "http": {"url": "https://there.example"}},
                {"name": "wrong", "container": {"image": "x", "args": ["${ string(1 / inputs.n) }"]}},
            ],
        }
    ),
    load_models(),
    "r",
)


class Lasting:
    """A kind whose work goes on without its runner."""

    weight: ClassVar[Weight] = Weight.IO
    outlives_runner: ClassVar[bool] = True

    def __init__(self, error: Exception | None = None) -> None:
        self.forsaken: list[tuple[str, UUID, set[str]]] = []
        self._error = error

    async def execute(self, step: StepContext, fields: BaseModel) -> Outcome:  # noqa: ARG002 - the port's signature
        return Succeeded()

    async def forsake(self, namespace: str, run_id: UUID, keys: Collection[str]) -> None:
        self.forsaken.append((namespace, run_id, set(keys)))
        if self._error is not None:
            raise self._error

    async def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def kind() -> Lasting:
    return Lasting()


@pytest.fixture
def view() -> RunView:
    return RunView(uuid4(), PLAN, "shop", "run", {"n": 0})


async def carried_out(view: RunView, kind: Lasting, node: int, **known: Any) -> Ended:
    kinds: dict[str, Kind] = {"container": kind}
    means = Means(
        kinds,
        SecretReader([]),
        Voice(cast("Store", None)),
        no_gates(),
        no_family(),
        Shelf(cast("ArtifactRows", None), None),
    )
    attempt = Attempt(view, PLAN.steps[node], 2, datetime.now(UTC), **known)
    return cast("Ended", await carry_out(attempt, means))


def key(view: RunView, node: int) -> str:
    return effect_key(StepKey(view.run_id, 0, node))


async def test_the_end_of_a_stopped_run_ends_what_its_cancelled_steps_have_left(kind, view):
    view.stopping = Phase.CANCELLED
    view.cancelled = [StepKey(view.run_id, 0, node) for node in (1, 4)]
    assert (await carried_out(view, kind, 0)).result.state is State.SUCCEEDED
    assert kind.forsaken == [("shop", view.run_id, {key(view, 1)})]


async def test_a_run_that_is_not_stopped_asks_nobody(kind, view):
    view.results = {node: Result(State.SUCCEEDED) for node in range(1, 6)}
    await carried_out(view, kind, 0)
    assert kind.forsaken == []


async def test_the_end_of_a_run_does_not_depend_on_it(view):
    kind = Lasting(RuntimeError("a defect"))
    view.stopping = Phase.FAILED
    view.cancelled = [StepKey(view.run_id, 0, 1)]
    assert (await carried_out(view, kind, 0)).result.state is State.SUCCEEDED
    assert len(kind.forsaken) == 1


async def test_a_step_of_a_stopped_run_is_not_gone_on_with_but_ended(kind, view):
    view.stopping = Phase.CANCELLED
    ended = await carried_out(view, kind, 1, broken_off=1, lost=1)
    assert ended.result.state is State.CANCELLED
    assert kind.forsaken == [("shop", view.run_id, {key(view, 1)})]


async def test_a_try_whose_heir_cannot_begin_is_ended_so_that_a_retry_does_not_run_beside_it(kind, view):
    ended = await carried_out(view, kind, 5, broken_off=1, lost=1, taken_over=datetime.now(UTC))
    assert ended.result.error is not None
    assert ended.result.error["type"] == "Expression"
    assert kind.forsaken == [("shop", view.run_id, {key(view, 5)})]


async def test_a_try_that_nobody_began_before_has_left_nothing(kind, view):
    await carried_out(view, kind, 5)
    assert kind.forsaken == []


class Shut:
    """What a store knows of a body that takes too long: how many steps run inside at each look."""

    def __init__(self, *running: int) -> None:
        self.bodies = self
        self._running = [*running]

    async def block(self, key: StepKey) -> Block | None:  # noqa: ARG002 - the port's signature
        return Block(body=1, size=1, opened=1, base=1, shut=True)

    async def still(self, key: StepKey) -> int:  # noqa: ARG002 - the port's signature
        return self._running.pop(0)

    async def left(self, key: StepKey, nodes: Sequence[int]) -> Sequence[StepKey]:
        return [StepKey(key.run_id, 1, node) for node in nodes]


async def test_what_a_body_that_took_too_long_has_left_is_ended_when_nothing_runs_inside(kind):
    steps = [{"name": "body", "timeout": "5s", "steps": [{"name": "job", "container": {"image": "x"}}]}]
    plan = compile_plan(parse_spec({"steps": steps}), load_models(), "r")
    view = RunView(uuid4(), plan, "shop", "run", {})
    attempt, shut = Attempt(view, plan.steps[1], 1, datetime.now(UTC)), cast("Any", Shut(1, 0))
    assert isinstance(await advance(attempt, shut, {"container": kind}), Late)
    assert kind.forsaken == []
    ended = await advance(attempt, shut, {"container": kind})
    assert isinstance(ended, Ended)
    assert (ended.result.error or {})["message"] == "timeout of 5 s passed"
    job = next(step.id for step in plan.steps if step.name == "job")
    assert kind.forsaken == [("shop", view.run_id, {effect_key(StepKey(view.run_id, 1, job))})]
