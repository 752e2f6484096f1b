"""What is known of a rehearsed run: how its steps went, under which names, and how it ended. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from leat_engine.calls import KIND as CALL
from leat_engine.opener import Fan, Loop
from leat_engine.plan import END, Plan, PlanStep
from leat_engine.redaction import Redaction
from leat_engine.restraint import CACHED
from leat_engine.result import Phase, State
from leat_engine.spelling import unknown
from leat_engine.view import RunView

INDEX = re.compile(r"\[\d+\]")
"""Of an item or iteration, in an address."""


@dataclass(slots=True)
class Course:
    """How one step went: of the run itself, or of a scope.

    Attributes:
        address: Its name with the names of what is around it and indexes, such as ``reserve[1]`` or ``ship[0]/pack``;
            of a step of a child run, with that of the step that started it.
        bare: Its name; of a step of a child run, behind that of the step that started it.
        items: The items of `forEach` that it belongs to: as `item_of` has them.
        begun, ended: Seconds since the run began; None when it did not.
        attempts: How often it was tried; 0 of what never began.
        errors: Of the attempts that were followed by another one.
        fields: What the last attempt was given, secrets masked; None when it came to none.
        state: None while it is not over.
    """

    node: PlanStep
    address: str
    bare: str
    items: tuple[tuple[int, int], ...] = ()
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
    def names(self) -> tuple[str, ...]:
        """What it may be called by, the narrowest first."""
        return self.address, INDEX.sub("", self.address), self.bare

    @property
    def ran(self) -> bool:
        """Whether it did something."""
        return self.state in (State.SUCCEEDED, State.FAILED)

    @property
    def cached(self) -> bool:
        """Whether its output is that of an earlier execution."""
        return self.state is State.SUCCEEDED and self.note == CACHED

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
        around: Of a child run, the course of the step that started it.
        children: The scores of the runs that its steps started.
    """

    plan: Plan
    inputs: Mapping[str, Any]
    started_at: datetime
    around: Course | None = None
    courses: dict[str, Course] = field(default_factory=dict)
    opened: dict[int, int] = field(default_factory=dict)
    phase: Phase | None = None
    output: Any = None
    error: Mapping[str, Any] | None = None
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    children: "list[Score]" = field(default_factory=list)

    def course(self, view: RunView, node: PlanStep) -> Course:
        """The course of a step, which may be new."""
        around, address, bare = self.around, address_of(view, node), node.name
        if around is not None:
            address, bare = f"{around.address}/{address}", f"{around.bare}/{bare}"
        found = self.courses.get(address)
        if found is None:
            items = (*(() if around is None else around.items), *item_of(view))
            found = self.courses[address] = Course(node, address, bare, items, view.scope)
        return found

    def local(self, name: str) -> str | None:
        """What the run calls something of this name; None when it belongs to another run."""
        if self.around is None:
            return name
        before = next((each for each in self.around.names if name.startswith(f"{each}/")), None)
        return None if before is None else name.removeprefix(f"{before}/")

    @property
    def every(self) -> list[Course]:
        """Those of the run, and those of its child runs."""
        return [*self.courses.values(), *(course for child in self.children for course in child.every)]

    @property
    def redaction(self) -> Redaction:
        """What must not be shown of it."""
        texts = [text for child in self.children for text in child.redaction.texts]
        return Redaction.of(self.plan.sensitive, self.inputs, texts)

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
        return [f"{course.address} {course.note}" for course in self.every if course.state is None and course.note]

    def named(self, name: str) -> list[Course]:
        """Courses of this address, or, without indexes, of all that have this name; that of the address is the last."""
        found = [course for course in self.every if name in course.names]
        return sorted(found, key=lambda course: course.address == name)


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


def address_problem(plan: Plan, address: str, callees: Mapping[str, Plan]) -> str | None:
    """What is wrong with an address such as ``ship[0]/pack``, or None.

    Args:
        plan: Of the run.
        address: Behind the name of a step that starts a run, it goes on with the steps of that run.
        callees: Plans of the Workflows that are at hand, by name.
    """
    found = _found(plan, address, callees)
    return found if isinstance(found, str) else None


def fake_problem(plan: Plan, address: str, callees: Mapping[str, Plan]) -> str | None:
    """Why there can be no answer for this address, or None."""
    found = _found(plan, address, callees)
    if isinstance(found, str):
        return found
    plan, name = found
    inner = [step for step in plan.steps if step.id > END and step.name == name and step.opens is None]
    if not inner:
        bodies = {number for number, body in enumerate(plan.bodies) if body.opener == plan.by_name[name]}
        steps = ", ".join(step.name for step in plan.steps if step.id > END and step.body in bodies)
        return f"opens a body, and does nothing itself: say what its steps give ({steps})"
    if all(step.pure for step in inner):
        return f"is a {inner[0].kind}, which has no effects and is evaluated as it stands: leave it out"
    return None


def _found(plan: Plan, address: str, callees: Mapping[str, Plan]) -> tuple[Plan, str] | str:
    """The plan in which the step of an address is, and its name; or what is wrong."""
    part, _, rest = address.partition("/")
    name = INDEX.sub("", part)
    meant = [step for step in plan.steps if step.id > END and step.name == name]
    if not meant:
        return unknown("step", name, {step.name for step in plan.steps if step.id > END})
    if name != part and not any(isinstance(step.opens, Fan | Loop) for step in meant):
        return f"found {part!r}, and {name} has neither items nor iterations: leave the number out"
    if not rest:
        return plan, name
    caller = next((step for step in meant if step.kind == CALL), None)
    if caller is None:
        return _found(plan, rest, callees)
    called = caller.fields.member("name")
    names = [called] if isinstance(called, str) else list(callees)
    if not any(each in callees for each in names):
        which = f"Workflow {called}" if isinstance(called, str) else "a Workflow"
        return f"{name} starts a run of {which}, which is not at hand: name its file in `workflows`"
    within = [_found(callees[each], rest, callees) for each in names if each in callees]
    return next((each for each in within if not isinstance(each, str)), within[0])


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
