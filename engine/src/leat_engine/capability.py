"""Whether the pools that are known can run a plan. Pure.

A pool announces the kinds and functions of its runners. One that nobody has announced may be about to come, and is no
reason against a plan.
"""

from collections.abc import Iterator, Mapping

from leat_engine.errors import Reason
from leat_engine.plan import Plan, PlanStep
from leat_engine.pools import Announced
from leat_engine.spelling import unknown

FUNCTION = "function"
"""The kind whose steps need more of a pool than the kind itself."""


def incapable(plan: Plan, pools: Mapping[str, Announced]) -> tuple[Reason, ...]:
    """Every step that its pool cannot run, with the step's field path. A function counts if its name is a constant."""
    return tuple(reason for step in plan.steps for reason in _of_step(step, pools))


def _of_step(step: PlanStep, pools: Mapping[str, Announced]) -> Iterator[Reason]:
    pool = pools.get(step.pool)
    if pool is None or step.light:
        return
    if step.kind not in pool.kinds:
        yield Reason(f"{step.path}.{step.kind}", _cannot(pool, unknown("kind", step.kind, pool.kinds)))
        return
    name = step.fields.member("name") if step.kind == FUNCTION else None
    if isinstance(name, str) and name not in pool.functions:
        none = "" if pool.functions else "; its runners load none, see `functions` of the RunnerPool"
        yield Reason(f"{step.path}.{FUNCTION}.name", _cannot(pool, unknown("function", name, pool.functions) + none))


def _cannot(pool: Announced, why: str) -> str:
    return f"pool {pool.name!r} cannot run it: {why}"
