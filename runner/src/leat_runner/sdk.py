"""The face of Leat in user code: mark a function as a step, and fail on purpose.

A marked function stays an ordinary function: call it in a unit test as any other.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

Function = TypeVar("Function", bound=Callable[..., Any])

MARK = "__leat_step__"
"""Attribute of a marked function: the name it is called by in workflows."""


class StepFailed(Exception):
    """Raise it to fail the step with an error of your choosing; subclasses give ``type`` their own name.

    Args:
        message: For people. Shown and stored, so no secrets.
        type: ``error.type``; the name of the class without one.
        retriable: False forbids another attempt, whatever the step's retry policy says.
        details: Small JSON object, readable in expressions as ``error.KEY``.
    """

    def __init__(
        self,
        message: str,
        *,
        type: str = "",  # noqa: A002 - it is error.type everywhere else
        retriable: bool = True,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.type = type
        self.retriable = retriable
        self.details = dict(details or {})


@overload
def step(function: Function, /) -> Function: ...
@overload
def step(*, name: str) -> Callable[[Function], Function]: ...
def step(function: Function | None = None, /, *, name: str = "") -> Function | Callable[[Function], Function]:
    """Make a function callable from workflows: ``function: {name: NAME, with: {PARAMETER: VALUE}}``.

    Use it bare (``@leat.step``, called by the function's own name) or with a name (``@leat.step(name="charge-card")``).
    The values of ``with`` come as keyword arguments, checked against the annotations. A parameter annotated
    `StepContext`, or named ``ctx``, gets the context of the attempt. An ``async def`` runs on the runner's event loop
    and must not block it; a plain ``def`` runs in a thread. The return value, as JSON, is the step's output.
    """

    def mark(marked: Function) -> Function:
        setattr(marked, MARK, name or marked.__name__)
        return marked

    return mark if function is None else mark(function)
