"""Answers for steps, found by their addresses."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from leat_cli.order import Order
from leat_cli.rehearsal.cast import Call, Unanswered, Unwatched
from leat_cli.rehearsal.score import fake_problem
from leat_cli.testing.files import Fake, FakeError
from leat_engine.calls import KIND as CALL
from leat_engine.errors import ExpressionError, Reason, Rejected
from leat_engine.expression import MEMBERS_OF_RUN, Names, Template, compile_template
from leat_engine.plan import Plan
from leat_engine.result import ErrorType, Failed, Outcome, StepError, Succeeded
from leat_engine.spec.duration import parse_duration
from leat_runner.kinds.answer import RETRIABLE

_FREE = ("item", "index", "iteration", "last", "fields", "attempt", "now")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an execution of a step gives: an error, or an output; ``takes`` in seconds."""

    output: Template | Callable[[Call], Any] | None = None
    error: StepError | None = None
    takes: float = 0.0


@dataclass(slots=True)
class Fakes(Unwatched):
    """The cast of a test.

    Attributes:
        answers: By address: a list, of which the last one stays. An item of a `forEach` begins at its head; iterations
            of a `repeat` go on in it, as attempts do.
        allow: Kinds that execute where there is no answer.
    """

    answers: Mapping[str, Sequence[Answer]]
    allow: frozenset[str] = frozenset()
    _given: dict[tuple[str, object], int] = field(default_factory=dict)

    async def answer(self, call: Call) -> Outcome | None:
        """The answer that is next."""
        key = next((key for key in call.course.names if key in self.answers), None)
        if key is None:
            if call.kind in self.allow or call.staged:
                return None
            raise Unanswered(_unanswered(call))
        place = (key, call.course.items)
        count = self._given.get(place, 0)
        self._given[place] = count + 1
        answers = self.answers[key]
        answer = answers[min(count, len(answers) - 1)]
        await asyncio.sleep(answer.takes)
        return Failed(answer.error) if answer.error is not None else Succeeded(_output(answer, call))


def _output(answer: Answer, call: Call) -> Any:
    if not isinstance(answer.output, Template):
        return None if answer.output is None else answer.output(call)
    bound = {**call.view.bindings((), {}, call.now), "fields": call.fields, "attempt": call.number}
    try:
        return answer.output.evaluate(bound)
    except ExpressionError as error:
        raise Unanswered(str(error)) from error


def _unanswered(call: Call) -> str:
    say = f"say what it gives, `{call.course.bare}: {{output: ...}}` in `steps`, or"
    if call.kind == CALL:
        name = call.fields.get("name")
        return f"step {call.address} starts a run of Workflow {name}: {say} name the file of {name} in `workflows`"
    return (
        f"step {call.address} of kind {call.kind} was to be executed, and has effects: {say} "
        f"let it run for real by `allow: [{call.kind}]`"
    )


def compiled(
    fakes: Mapping[str, Sequence[Fake]], order: Order, path: str, reasons: list[Reason]
) -> dict[str, list[Answer]]:
    """Answers for steps of a run; what is wrong with them is added to ``reasons``."""
    names = _names(order.plan)
    found: dict[str, list[Answer]] = {}
    for address, answers in fakes.items():
        problem = fake_problem(order.plan, address, order.at_hand)
        if problem is not None:
            reasons.append(Reason(f"{path}.{address}", problem))
            continue
        try:
            found[address] = [_compiled(fake, names, f"{path}.{address}") for fake in answers]
        except Rejected as rejected:
            reasons.extend(rejected.reasons)
    return found


def error_of(error: FakeError) -> StepError:
    """The error that a step gives."""
    retriable = error.retriable
    if retriable is None:
        status = error.details.get("status")
        final = error.type == ErrorType.HTTP_STATUS and isinstance(status, int) and status < 500
        retriable = not final or status in RETRIABLE
    return StepError(error.type, error.message, error.reason, retriable, error.details)


def _compiled(fake: Fake, names: Names, path: str) -> Answer:
    takes = 0.0 if fake.takes is None else parse_duration(fake.takes)
    if fake.error is not None:
        return Answer(error=error_of(fake.error), takes=takes)
    return Answer(compile_template(fake.output, f"{path}.output", names), takes=takes)


def _names(plan: Plan) -> Names:
    variables = frozenset(plan.vars.keys) if plan.vars is not None else frozenset[str]()
    members = {"vars": variables, "run": MEMBERS_OF_RUN, "inputs": None}
    return {**members, **dict.fromkeys(_FREE)}
