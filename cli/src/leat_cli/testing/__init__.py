"""Tests of workflows in Python: play a run with fakes for its steps, and look at what came of it.

    from leat_cli.testing import error, output, run

    def test_a_refused_card_is_told():
        result = run("order.yaml", {"orderId": "A-17"}, {"charge": error("HttpStatus", status=402)})
        assert result.phase == "Succeeded"
        assert result.path == ["charge", "apologise"]

Nothing is executed, and time is skipped: the run is played by what runners play it by. `leat test` does the same for
files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from leat_cli.order import Order, draft_of, plan_of
from leat_cli.rehearsal.cast import Call, Props, Secrets
from leat_cli.rehearsal.scene import Cue, Scene
from leat_cli.rehearsal.score import Course, Score, fake_problem
from leat_cli.rehearsal.stage import play
from leat_cli.testing.fakes import Answer, Fakes, error_of
from leat_cli.testing.files import START, FakeError
from leat_engine.errors import Reason, Rejected
from leat_engine.spec import parse_spec
from leat_engine.waits import Signal
from leat_runner.secrets import Given, SecretReader

__all__ = ["Call", "Fake", "NotPlayed", "Result", "approve", "error", "output", "reject", "run", "signal"]

Fake = Answer | Callable[[Call], Any] | Sequence[Answer]
"""What a step gives."""


class NotPlayed(AssertionError):
    """The run could not be played to an end that tells something; the message says why, and what to do."""


class Result:
    """What came of a run.

    Attributes:
        phase: Succeeded, Failed, Cancelled; or Running, when it waits for somebody for ever.
        output, error: Of the run.
        path: Names of the steps that did something, in the order in which they began.
        seconds: That the run took, skipped ones included.
    """

    def __init__(self, score: Score) -> None:
        self.phase = score.label
        self.output = score.output
        self.error = score.error
        self.path = score.path
        self.seconds = score.seconds
        self._score = score

    def step(self, name: str) -> Course:
        """How a step went, by its name or its address, such as ``reserve[1]``: state, attempts, output, fields, ...

        Raises:
            KeyError: It was never reached.
        """
        found = self._score.named(name)
        if not found:
            there = ", ".join(course.address for course in self._score.every) or "none"
            raise KeyError(f"step {name} was never reached; there were {there}")
        return found[-1]

    def __repr__(self) -> str:
        return repr(self._score)


def output(value: Any = None, *, takes: float = 0.0) -> Answer:
    """An answer: the step gives this. ``takes``: seconds, which are skipped."""
    return Answer(lambda _call: value, takes=takes)


def error(
    kind: str, message: str = "as the test says", *, takes: float = 0.0, retriable: bool | None = None, **details: Any
) -> Answer:
    """An answer: the attempt fails with an error of this type. ``details`` are readable as ``error.KEY``."""
    found = FakeError(type=kind, message=message, retriable=retriable, details=details)
    return Answer(error=error_of(found), takes=takes)


def signal(name: str, payload: Any = None, *, by: str = "somebody", after: float | None = None) -> Cue:
    """A signal for the run. ``after`` seconds from its beginning; None: as soon as a step waits for it."""
    return Cue(after, Signal(f"signal-{name}-{by}-{after}", name, payload, by=by))


def approve(name: str = "", *, by: str = "somebody", groups: Sequence[str] = (), after: float | None = None) -> Cue:
    """Somebody approves."""
    return Cue(after, Signal(f"approve-{name}-{by}-{after}", name, None, True, "", by, tuple(groups)))


def reject(name: str = "", *, by: str = "somebody", groups: Sequence[str] = (), after: float | None = None) -> Cue:
    """Somebody rejects."""
    return Cue(after, Signal(f"reject-{name}-{by}-{after}", name, None, False, "", by, tuple(groups)))


def run(  # noqa: PLR0913 - each is a word of the test
    workflow: str | Path | Mapping[str, Any],
    inputs: Mapping[str, Any] | None = None,
    fakes: Mapping[str, Fake] | None = None,
    *,
    told: Sequence[Cue] = (),
    secrets: Mapping[str, Mapping[str, str]] | None = None,
    allow: Sequence[str] = (),
    workflows: Sequence[str | Path] = (),
    now: datetime = START,
) -> Result:
    """Play a run of a workflow.

    Args:
        workflow: A file, of which is played what `leat run` would run, or the `spec` of a Workflow.
        inputs: The run's inputs.
        fakes: What steps give, by name or address: an answer, a list of answers for one execution after the other, of
            which the last stays, or a function of the `Call` that gives an output.
        told: Signals and votes.
        secrets: Values by key by name; others are made up.
        allow: Kinds that are executed for real where there is no fake.
        workflows: Files with other Workflows that steps may start runs of; those of the workflow's file are there.
        now: When the run begins.

    Raises:
        Invalid: The file is wrong.
        Rejected: The spec, the inputs or the names of fakes are.
        NotPlayed: A step has effects and no fake, or nobody takes a signal.
    """
    order = _order(workflow, workflows)
    answers = {name: _answers(given) for name, given in (fakes or {}).items()}
    problems = [(name, fake_problem(order.plan, name, order.at_hand)) for name in answers]
    if found := [Reason(f"fakes.{name}", problem) for name, problem in problems if problem is not None]:
        raise Rejected(found)
    order = replace(order, inputs=order.plan.inputs.apply(inputs or {}, "inputs"))
    given = {name: dict(keys) for name, keys in (secrets or {}).items()}
    reader = Secrets(SecretReader([Given(given, "`secrets`"), Props()]))
    score = play(Scene(order, Fakes(answers, frozenset(allow)), reader, now, tuple(told)))
    if score.problems:
        raise NotPlayed("\n".join(score.problems))
    return Result(score)


def _order(workflow: str | Path | Mapping[str, Any], others: Sequence[str | Path]) -> Order:
    if isinstance(workflow, Mapping):
        spec = parse_spec(workflow)
        order = Order("default", "test", "test", spec.as_json(), plan_of(spec, "spec"), {})
    else:
        order = draft_of(str(workflow))[0]
    callees = [callee for other in others for callee in draft_of(str(other))[0].callees]
    return replace(order, callees=(*order.callees, *callees))


def _answers(given: Fake) -> Sequence[Answer]:
    match given:
        case Answer():
            return [given]
        case Sequence():
            return given
        case _:
            return [Answer(given)]
