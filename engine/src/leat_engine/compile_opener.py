"""One step with bodies, compiled: what it opens, how often, and until when."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from leat_engine import limits
from leat_engine.compile import CompiledStep, Workshop, optional, seconds
from leat_engine.errors import Reason
from leat_engine.expression import Template, compile_template
from leat_engine.look import looks_of, undeclared
from leat_engine.opener import ITEM, TIME, WORDS, Choice, Fan, Group, Loop, Opener, Tolerance
from leat_engine.retry import NO_RETRY
from leat_engine.spec import Step
from leat_engine.spec.model import Model

_TIMES = 100
_PARALLEL = 500
_SHARE = re.compile(r"(\d{1,3})%")


class NoFields(Model):
    """A step with bodies, and the end of a body, have no fields."""


def compile_opener(
    step: Step, path: str, shop: Workshop, bodies: Sequence[int], *, alone: bool
) -> tuple[CompiledStep | None, Template | None]:
    """Compile a step that opens ``bodies``, numbers of the plan; with its condition, if that is about each item.

    ``alone``: the body is one step, what `forEach` or `repeat` is written on.
    """
    if not alone or step.for_each is None:
        when, each = optional(step.when, f"{path}.when", shop), None
    else:
        when, each = None, optional(step.when, f"{path}.when", _with(shop, ITEM))
        if each is not None and not each.variables & ITEM:
            when, each = each, None
    found = len(shop.reasons)
    opens = _opener(step, path, shop, bodies)
    _misplaced(step, path, shop, alone=alone)
    if step.artifacts:
        hint = "put the step into `steps` and hand them on by `output`" if alone else "they belong to steps of the body"
        shop.reasons.append(Reason(f"{path}.artifacts", f"a step that opens a body leaves none: {hint}"))
    if opens is None or len(shop.reasons) > found:
        return None, each
    templates = [template for template in (when, *_templates(opens)) if template is not None]
    nothing = compile_template(None, "", {})
    shop.reasons.extend(undeclared(templates, shop.artifacts))
    compiled = CompiledStep(
        spec=step,
        kind=WORDS[type(opens)],
        fields=nothing,
        model=NoFields,
        when=when,
        retry=NO_RETRY,
        timeout=None if alone else seconds(step.timeout),
        deadline=None,
        pool=step.pool or shop.spec.pool,
        path=path,
        reads=frozenset[str]().union(*(template.reads for template in templates)),
        opens=opens,
        looks=looks_of(templates, into=opens.items if isinstance(opens, Fan) else None),
    )
    return compiled, each


def _opener(step: Step, path: str, shop: Workshop, bodies: Sequence[int]) -> Opener | None:
    if step.for_each is not None and step.repeat is not None:
        shop.reasons.append(Reason(path, "has `forEach` and `repeat`; put a step with one into `steps` of the other"))
        return None
    if step.for_each is not None:
        items = None
        with shop.collecting():
            items = compile_template(step.for_each, f"{path}.forEach", shop.names, outlets=shop.outlets)
        if items is not None and "now" in items.variables:
            message = "reads `now`; the list has to be the same whenever it is looked at: put it into a step before"
            shop.reasons.append(Reason(f"{path}.forEach", message))
        tolerance = _tolerance(step.tolerate, f"{path}.tolerate", shop)
        parallel, stated = step.max_parallel or _PARALLEL, step.max_parallel is not None
        return None if items is None else Fan(items, parallel, tolerance, bodies[0], stated)
    if step.repeat is not None:
        until = optional(step.repeat.until, f"{path}.repeat.until", _with(shop, TIME))
        return Loop(until, step.repeat.max or _TIMES, seconds(step.repeat.delay) or 0.0, bodies[0])
    if step.switch is not None:
        whens = [
            optional(case.when, f"{path}.switch[{index}].when", shop) if case.default is None else None
            for index, case in enumerate(step.switch)
        ]
        for index, case in enumerate(step.switch[:-1]):
            if case.default:
                shop.reasons.append(
                    Reason(f"{path}.switch[{index}]", "is the default; expected it to be the last case")
                )
        return Choice(tuple(zip(whens, bodies, strict=True)))
    return Group(bodies[0])


def _templates(opens: Opener) -> Sequence[Template | None]:
    match opens:
        case Fan(items=items):
            return [items]
        case Loop(until=until):
            return [until]
        case Choice(cases=cases):
            return [when for when, _ in cases]
        case Group():
            return []


def _tolerance(written: int | str | None, path: str, shop: Workshop) -> Tolerance:
    match written:
        case None:
            return Tolerance()
        case "all":
            return Tolerance(share=1.0)
        case bool():
            pass
        case int() if 0 <= written <= limits.ITEMS:
            return Tolerance(number=written)
        case str() if (share := _SHARE.fullmatch(written)) and int(share[1]) <= 100:
            return Tolerance(share=int(share[1]) / 100)
    shop.reasons.append(Reason(path, f"found {written!r}, expected a number of items, a share such as 10%, or all"))
    return Tolerance()


def _misplaced(step: Step, path: str, shop: Workshop, *, alone: bool) -> None:
    """Fields that a step with bodies does not have."""

    def refuse(name: str, message: str) -> None:
        shop.reasons.append(Reason(f"{path}.{name}", message))

    forms = [name for name, value in (("steps", step.steps), ("switch", step.switch), *step.others.items())
             if value is not None]  # fmt: skip
    if len(forms) > 1:
        shop.reasons.append(Reason(path, f"has {' and '.join(forms)}; a step has exactly one kind or body"))
    if step.for_each is None:
        for name, value in (("maxParallel", step.max_parallel), ("tolerate", step.tolerate)):
            if value is not None:
                refuse(name, "belongs to a step with `forEach`")
    if step.output is not None and step.steps is None:
        refuse("output", "belongs to a step with `steps`; the kind gives the output itself")
    if not (alone and step.switch is None):
        for name, message in _of_attempts(step, alone=alone):
            refuse(name, message)


def _of_attempts(step: Step, *, alone: bool) -> Iterator[tuple[str, str]]:
    """Fields about attempts, which a body has none of. ``alone``: it is a `switch` that `forEach` or `repeat` is on."""
    fields = {"retry": step.retry, "concurrency": step.concurrency, "rateLimit": step.rate_limit,
              "breaker": step.breaker, "cache": step.cache}  # fmt: skip
    for name, written in fields.items():
        if written is not None:
            yield name, "a body has no attempts of its own; write it on the steps of the body"
    if step.deadline is not None:
        yield "deadline", "a body is not tried again; `timeout` is the time that all of it may take"
    if step.timeout is not None and alone:
        message = "may be meant for each time or for all: put the `switch` into `steps`; beside the `switch` it holds"
        yield "timeout", f"{message} for each time, beside `steps` for all"


def _with(shop: Workshop, names: frozenset[str]) -> Workshop:
    more: Mapping[str, None] = dict.fromkeys(names)
    return replace(shop, names={**shop.names, **more})
