"""Child runs below the steps that started them. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from leat_engine.plan import Plan
from leat_engine.records import ChildRecord


@dataclass(frozen=True, slots=True)
class Kin:
    """A child run with those below it."""

    record: ChildRecord
    children: "tuple[Kin, ...]" = ()


def owners_of(plan: Plan) -> dict[int, int]:
    """Of each node that is a step, the step of the workflow itself that has it: itself, or the one around its body."""
    owners: dict[int, int] = {}
    for node in sorted(step.id for step in plan.steps if step.id > 0):  # outer ones come first
        body = plan.steps[node].body
        owners[node] = owners[plan.bodies[body].opener] if body else node
    return owners


def kin_of(run_id: UUID, records: Sequence[ChildRecord], owners: Mapping[int, int]) -> dict[int, tuple[Kin, ...]]:
    """The children of a run by its steps, in the order in which they were started."""
    below: dict[UUID, list[ChildRecord]] = defaultdict(list)
    for record in records:
        below[record.parent].append(record)

    def kin(record: ChildRecord) -> Kin:
        return Kin(record, tuple(map(kin, below[record.run_id])))

    found: dict[int, list[Kin]] = defaultdict(list)
    for record in below[run_id]:
        found[owners.get(record.step, record.step)].append(kin(record))
    return {step: tuple(children) for step, children in found.items()}
