"""Which ways of a workflow its tests have gone. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from leat_cli.rehearsal.score import Course, Score
from leat_engine.opener import Choice
from leat_engine.plan import END, Plan, PlanStep
from leat_engine.result import State


@dataclass(frozen=True, slots=True)
class Branch:
    """One way: ``path`` is the field that makes it, ``message`` what never was so."""

    path: str
    step: str
    message: str


@dataclass(slots=True)
class Coverage:
    """The branches of a workflow, and those that were taken."""

    workflow: str
    every: tuple[Branch, ...]
    taken: set[Branch] = field(default_factory=set)

    @property
    def missing(self) -> list[Branch]:
        """Those that no case has taken, in the order of the workflow."""
        return [branch for branch in self.every if branch not in self.taken]

    @property
    def percent(self) -> float:
        """From 0 to 100."""
        return 100.0 * (len(self.every) - len(self.missing)) / len(self.every) if self.every else 100.0

    def add(self, score: Score) -> None:
        """Count what a run has gone through."""
        self.taken.update(taken(score))


def branches(plan: Plan) -> tuple[Branch, ...]:
    """Every step that can run, both ends of each condition, the cases of each switch, each failure that is taken."""
    found: list[Branch] = []
    for node in _steps(plan):
        if not _is_alone(plan, node):
            found.append(_runs(node))
        if node.when is not None:
            found += [_when(node, so=True), _when(node, so=False)]
        if isinstance(node.opens, Choice):
            found += [_case(node, index) for index in range(len(node.opens.cases))]
            if node.opens.cases[-1][0] is not None:
                found.append(_no_case(node))
        found += [_failure(plan, node, need) for need in _taken_failures(node)]
    return tuple(found)


def taken(score: Score) -> Iterator[Branch]:
    """The branches that a run has gone through."""
    plan = score.plan
    here: dict[tuple[int, int], Course] = {(course.scope, course.node.id): course for course in score.courses.values()}
    for course in here.values():
        node, begun = course.node, course.state not in (State.SKIPPED, State.OMITTED)
        ran = begun and (course.ran or course.attempts > 0)
        if ran and not _is_alone(plan, node):
            yield _runs(node)
        if node.when is not None and (ran or course.state is State.SKIPPED):
            yield _when(node, so=ran)
        if ran:
            for need in _taken_failures(node):
                before = here.get((course.scope, need))
                if before is not None and before.state is State.FAILED:
                    yield _failure(plan, node, need)
    yield from _cases(score)


def _cases(score: Score) -> Iterator[Branch]:
    for node in _steps(score.plan):
        if isinstance(node.opens, Choice):
            opened = [score.opened.get(body, 0) for _, body in node.opens.cases]
            yield from (_case(node, index) for index, count in enumerate(opened) if count)
            ran = sum(course.node is node and course.state is State.SUCCEEDED for course in score.courses.values())
            if ran > sum(opened) and node.opens.cases[-1][0] is not None:
                yield _no_case(node)


def _steps(plan: Plan) -> Iterable[PlanStep]:
    return (node for node in plan.steps if node.id > END)


def _is_alone(plan: Plan, node: PlanStep) -> bool:
    """Whether it is what `forEach` or `repeat` is written on: the step around it has its name."""
    return plan.bodies[node.body].result == node.id


def _taken_failures(node: PlanStep) -> list[int]:
    return [edge.step for edge in node.needs if State.FAILED in edge.on]


def _runs(node: PlanStep) -> Branch:
    return Branch(node.path, node.name, "never runs")


def _when(node: PlanStep, *, so: bool) -> Branch:
    return Branch(f"{node.path}.when", node.name, f"is never {'true' if so else 'false'}")


def _case(node: PlanStep, index: int) -> Branch:
    return Branch(f"{node.path}.switch[{index}]", node.name, "is never taken")


def _no_case(node: PlanStep) -> Branch:
    return Branch(f"{node.path}.switch", node.name, "always takes one of its cases")


def _failure(plan: Plan, node: PlanStep, need: int) -> Branch:
    name = plan.steps[need].name
    return Branch(f"{node.path}.needs", node.name, f"never takes a failure of {name}")
