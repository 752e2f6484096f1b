"""Child runs below the steps that started them. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from leat_engine.plan import Plan
from leat_engine.result import Phase


@dataclass(frozen=True, slots=True)
class ChildRecord:
    """A child run as it stands below its parent.

    Attributes:
        parent: The run that has the step; step: its node in that run's plan.
        done: Of its ``total`` steps.
    """

    run_id: UUID
    parent: UUID
    step: int
    name: str
    workflow: str
    phase: Phase
    done: int
    total: int
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Kin:
    """A child run with those below it."""

    record: ChildRecord
    children: "tuple[Kin, ...]" = ()


def owners_of(plan: Plan) -> dict[int, int]:
    """Of each node that is a step, the step of the workflow itself that has it: itself, or the one around its body.

    That of a compensation is the step that it undoes; steps of `finally` have none, which is 0.
    """
    owners = {0: 0}
    for step in sorted((step for step in plan.steps if step.id > 0), key=lambda step: step.id):  # outer ones come first
        if step.undoes:
            owners[step.id] = owners[step.undoes if step.undoes > 0 else plan.bodies[-step.undoes].opener]
        else:
            owners[step.id] = owners[plan.bodies[step.body].opener] if step.body else step.id
    return owners


def kin_of(run_id: UUID, records: Sequence[ChildRecord], owners: Mapping[int, int]) -> dict[int, tuple[Kin, ...]]:
    """The children of a run by its steps, in the order in which they were started; by 0 those of `finally`."""
    below: dict[UUID, list[ChildRecord]] = defaultdict(list)
    for record in records:
        below[record.parent].append(record)

    def kin(record: ChildRecord) -> Kin:
        return Kin(record, tuple(map(kin, below[record.run_id])))

    found: dict[int, list[Kin]] = defaultdict(list)
    for record in below[run_id]:
        found[owners.get(record.step, record.step)].append(kin(record))
    return {step: tuple(children) for step, children in found.items()}
