"""What is known of a rehearsed run: how its steps went, under which names, and how it ended. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from leat_engine.opener import Fan, Loop
from leat_engine.plan import END, Plan, PlanStep
from leat_engine.result import Phase, State
from leat_engine.spelling import unknown
from leat_engine.view import RunView

INDEX = re.compile(r"\[\d+\]")
"""Of an item or iteration, in an address."""


@dataclass(slots=True)
class Course:
    """How one step went: of the run itself, or of a scope.

    Attributes:
        address: Its name with the names of what is around it and indexes, such as ``reserve[1]`` or ``ship[0]/pack``.
        begun, ended: Seconds since the run began; None when it did not.
        attempts: How often it was tried; 0 of what never began.
        errors: Of the attempts that were followed by another one.
        fields: What the last attempt was given, secrets masked; None when it came to none.
        state: None while it is not over.
    """

    node: PlanStep
    address: str
    scope: int = 0
    begun: float | None = None
    ended: float | None = None
    attempts: int = 0
    errors: list[Mapping[str, Any]] = field(default_factory=list)
    fields: Any = None
    note: str = ""
    state: State | None = None
    output: Any = None
    error: Mapping[str, Any] | None = None

    @property
    def ran(self) -> bool:
        """Whether it did something."""
        return self.state in (State.SUCCEEDED, State.FAILED)

    @property
    def label(self) -> str:
        """The state, as users read it."""
        return "Running" if self.state is None else self.state.label


@dataclass(slots=True, repr=False)
class Score:
    """A run, as it was played.

    Attributes:
        courses: By address, in the order in which they began or ended.
        opened: Bodies that were opened, by their numbers, and how often.
        phase: None when it never ends: all that is left waits for somebody.
        seconds: That it took, those that were skipped included.
        problems: Why what was played says nothing: a step without an answer, a signal that nobody took.
    """

    plan: Plan
    inputs: Mapping[str, Any]
    started_at: datetime
    courses: dict[str, Course] = field(default_factory=dict)
    opened: dict[int, int] = field(default_factory=dict)
    phase: Phase | None = None
    output: Any = None
    error: Mapping[str, Any] | None = None
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def course(self, view: RunView, node: PlanStep) -> Course:
        """The course of a step, which may be new."""
        address = address_of(view, node)
        found = self.courses.get(address)
        if found is None:
            found = self.courses[address] = Course(node, address, view.scope)
        return found

    def __repr__(self) -> str:
        return f"<{self.label}: {' > '.join(self.path)}>"

    @property
    def label(self) -> str:
        """The phase, as users read it."""
        return "Running" if self.phase is None else self.phase.label

    @property
    def path(self) -> list[str]:
        """Names of the steps that did something, in the order in which they began, each once."""
        begun = [course for course in self.courses.values() if course.ran and course.begun is not None]
        return list(dict.fromkeys(course.node.name for course in sorted(begun, key=_begun)))

    @property
    def waits(self) -> list[str]:
        """What the steps wait for that nobody told anything."""
        courses = self.courses.values()
        return [f"{course.address} {course.note}" for course in courses if course.state is None and course.note]

    def named(self, name: str) -> list[Course]:
        """Courses of this address, or, without indexes, of all that have this name; that of the address is the last."""
        found = [each for each in self.courses.values() if each.node.name == name and each.address != name]
        return [*found, self.courses[name]] if name in self.courses else found


def _begun(course: Course) -> float:
    return course.begun or 0.0


def address_of(view: RunView, node: PlanStep) -> str:
    """The name of a step with all that is around it."""
    around = scope_of(view)
    if (
        view.body and view.plan.bodies[view.body].result == node.id
    ):  # the body of a `forEach` that is written on the step itself has its name
        return around
    return f"{around}/{node.name}" if around else node.name


def scope_of(view: RunView) -> str:
    """The name of a scope: that of its opener, with the index where there may be several."""
    if view.parent is None:
        return ""
    opener = view.plan.steps[view.plan.bodies[view.body].opener]
    if opener.id == END:  # `finally`, whose names are those of the workflow
        return ""
    name = address_of(view.parent, opener)
    return f"{name}[{view.index}]" if isinstance(opener.opens, Fan | Loop) else name


def item_of(view: RunView) -> tuple[tuple[int, int], ...]:
    """Which items of `forEach` a scope belongs to: body and index of each, the outermost first."""
    found = []
    for each in view.chain():
        if each.parent is not None:
            opener = view.plan.steps[view.plan.bodies[each.body].opener]
            if isinstance(opener.opens, Fan):
                found.append((each.body, each.index))
    return tuple(found)


def address_problem(plan: Plan, address: str) -> str | None:
    """What is wrong with an address such as ``ship[0]/pack``, or None."""
    known = {step.name for step in plan.steps if step.id > END}
    for part in address.split("/"):
        name = INDEX.sub("", part)
        if name not in known:
            return unknown("step", name, known)
        if name != part and not any(step.name == name and isinstance(step.opens, Fan | Loop) for step in plan.steps):
            return f"found {part!r}, and {name} has neither items nor iterations: leave the number out"
    return None


def fake_problem(plan: Plan, address: str) -> str | None:
    """Why there can be no answer for this address, or None."""
    problem = address_problem(plan, address)
    if problem is not None:
        return problem
    name = INDEX.sub("", address).rsplit("/", 1)[-1]
    inner = [step for step in plan.steps if step.id > END and step.name == name and step.opens is None]
    if not inner:
        bodies = {number for number, body in enumerate(plan.bodies) if body.opener == plan.by_name[name]}
        steps = ", ".join(step.name for step in plan.steps if step.id > END and step.body in bodies)
        return f"opens a body, and does nothing itself: say what its steps give ({steps})"
    if all(step.pure for step in inner):
        return f"is a {inner[0].kind}, which has no effects and is evaluated as it stands: leave it out"
    return None


def spent(seconds: float) -> str:
    """Seconds as a duration: ``1d2h``, ``1.5s``."""
    parts, left = [], round(seconds, 3)
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count:.0f}{unit}")
    if round(left, 3):
        parts.append(f"{round(left, 3):g}s")
    return "".join(parts) or "0s"
