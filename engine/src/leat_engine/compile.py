"""One step of a spec, compiled by itself: its name, kind, fields, expressions and times."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from leat_engine.errors import Reason, Rejected
from leat_engine.expression import NOWHERE, Names, Outlets, Template, compile_condition, compile_template
from leat_engine.look import Look, looks_of, undeclared
from leat_engine.opener import Opener
from leat_engine.reference import OUTPUT
from leat_engine.restraint import Restraint, compile_restraint, pure_problems
from leat_engine.retry import NO_RETRY, RetryPolicy
from leat_engine.spec import Step, WorkflowSpec, parse_duration
from leat_engine.spec.kinds import outward_fields, verbatim_fields
from leat_engine.spec.model import Model
from leat_engine.spec.parse import reasons
from leat_engine.spec.places import WRITTEN
from leat_engine.spec.workflow import Backoff, Retry
from leat_engine.spelling import unknown

PURE_KINDS = frozenset({"transform", "fail"})
"""Kinds without effects: the decider does them, in the commit of their predecessor."""

WAITS = frozenset({"signal", "approval", "wait"})
"""Kinds that wait without a runner, for as long as they say themselves."""

_STEP_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every step is compiled with, and where the reasons are collected."""

    spec: WorkflowSpec
    models: Mapping[str, type[BaseModel]]
    names: Names
    path: str
    outlets: Outlets = NOWHERE
    artifacts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    reasons: list[Reason] = field(default_factory=list)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Turn a `Rejected` into collected reasons and go on behind the block."""
        try:
            yield
        except Rejected as rejected:
            self.reasons.extend(rejected.reasons)


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """A step before it is part of a graph. ``reads`` are names of steps; the rest is as in `PlanStep`."""

    spec: Step
    kind: str
    fields: Template
    model: type[BaseModel]
    when: Template | None
    retry: RetryPolicy
    timeout: float | None
    deadline: float | None
    pool: str
    path: str
    reads: frozenset[str]
    opens: Opener | None = None
    restraint: Restraint | None = None
    looks: tuple[Look, ...] = ()


def compile_step(step: Step, path: str, shop: Workshop, when: Template | None = None) -> CompiledStep | None:
    """Compile a step with a kind. Gives None when it has no usable one; what is wrong is in ``shop.reasons``.

    ``when`` is its condition, if that was written on the step around this one.
    """
    defaults = shop.spec.defaults
    when = when or optional(step.when, f"{path}.when", shop)
    _only_with_bodies(step, path, shop)
    retry = _retry(step, path, shop)
    kind = _kind(step, path, shop)
    fields = _fields(step, kind, path, shop) if kind else None
    restraint = compile_restraint(step, path, shop.names, shop.reasons)
    if kind is None or fields is None:
        return None
    if kind in PURE_KINDS:
        shop.reasons.extend(pure_problems(step, kind, path))
    if kind in WAITS:
        shop.reasons.extend(_idle_times(step, kind, path))
    shop.reasons.extend(artifact_problems(step, kind, path))
    templates = [fields, when, *(restraint.keys if restraint else ())]
    shop.reasons.extend(undeclared(templates, shop.artifacts))
    timeout = step.timeout or (defaults.timeout if defaults else None)
    return CompiledStep(
        spec=step,
        kind=kind,
        fields=fields,
        model=shop.models[kind],
        when=when,
        retry=retry,
        timeout=seconds(timeout),
        deadline=seconds(step.deadline),
        pool=step.pool or shop.spec.pool,
        path=path,
        reads=fields.reads | (when.reads if when else frozenset()) | (restraint.reads if restraint else frozenset()),
        restraint=restraint,
        looks=looks_of(templates),
    )


def check_name(noun: str, name: str, path: str, found: list[Reason]) -> None:
    """Add a reason when ``name`` has characters that names do not have."""
    if not _STEP_NAME.fullmatch(name):
        rule = "letters, digits, `-` and `_`, at most 63, beginning with a letter"
        found.append(Reason(path, f"{name[:80]!r} is no {noun} name; expected {rule}"))
    elif name in {"true", "false"}:
        found.append(
            Reason(path, f"{name!r} is what YAML makes of on, off, yes, no, y and n; write the name in quotes")
        )


def nothing_written(step: Step, path: str) -> Iterator[Reason]:
    """Words without which a step is another one, and that are there with nothing behind them."""
    written = step.model_fields_set - step.others.keys()
    for name in ("for_each", "repeat", "switch", "steps", "compensate"):
        if name in written and getattr(step, name) is None:
            field = Step.model_fields[name].alias or name
            yield Reason(f"{path}.{field}", "found null; write what belongs there, or remove the field")


def seconds(duration: str | None) -> float | None:
    """Seconds of a duration that a model has checked."""
    return None if duration is None else parse_duration(duration)


def _only_with_bodies(step: Step, path: str, shop: Workshop) -> None:
    """Fields that mean nothing on a step that is done once and has no body."""
    for name, value in (("maxParallel", step.max_parallel), ("tolerate", step.tolerate)):
        if value is not None:
            shop.reasons.append(Reason(f"{path}.{name}", "belongs to a step with `forEach`"))
    if step.output is not None:
        shop.reasons.append(
            Reason(f"{path}.output", "belongs to a step with `steps`; the kind gives the output itself")
        )


def artifact_problems(step: Step, kind: str, path: str) -> Iterator[Reason]:
    """What is wrong with the artifacts that a step declares."""
    if step.artifacts and step.cache is not None:
        yield Reason(f"{path}.cache", "belongs to steps without `artifacts`: the cache keeps outputs, and no files")
    for name, artifact in step.artifacts.items():
        here = f"{path}.artifacts.{name}"
        found: list[Reason] = []
        check_name("artifact", name, here, found)
        yield from found
        if name == OUTPUT:
            yield Reason(here, f"{OUTPUT!r} is the name of the step's own output; take another one")
        match kind:
            case "script" | "container" if artifact.path is None:
                yield Reason(f"{here}.path", f"is required and missing: the file that the {kind} leaves")
            case "script" | "container" if not _is_inside(artifact.path or ""):
                below = "the script's directory" if kind == "script" else "the directory $LEAT_FILES"
                yield Reason(f"{here}.path", f"found {artifact.path!r}, expected a file below {below}, as out/a.csv")
            case "function" if artifact.path is not None:
                yield Reason(f"{here}.path", "belongs to a script; the function hands the file over by `context.keep`")
            case "script" | "function" | "container":
                pass
            case _:
                yield Reason(here, f"a {kind} step leaves no artifacts; script, function and container steps do")


def _is_inside(path: str) -> bool:
    """Whether a relative path stays below where it begins."""
    return (
        not path.startswith("/") and "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))
    )


def optional(condition: bool | str | None, path: str, shop: Workshop) -> Template | None:
    """A compiled condition, or None: there is none, or it is wrong."""
    if condition is None:
        return None
    with shop.collecting():
        return compile_condition(condition, path, shop.names, shop.outlets)
    return None


def _idle_times(step: Step, kind: str, path: str) -> Iterator[Reason]:
    """Times that would not end the wait."""
    for name, value in (("timeout", step.timeout), ("deadline", step.deadline)):
        if value is not None:
            instead = "it says itself for how long" if kind == "wait" else f"write `{kind}: {{timeout: {value}}}`"
            yield Reason(f"{path}.{name}", f"does not end the wait of a step with `{kind}`; {instead}")


def _kind(step: Step, path: str, shop: Workshop) -> str | None:
    """The one kind of the step."""
    kinds = [name for name in step.others if name in shop.models]
    fields = [name if info.alias is None else info.alias for name, info in Step.model_fields.items()]
    strange = [name for name in step.others if name not in shop.models]
    for name in strange:
        shop.reasons.append(Reason(f"{path}.{name}", unknown("kind or field", name, [*shop.models, *fields])))
    if len(kinds) > 1:
        shop.reasons.append(Reason(path, f"has {len(kinds)} kinds ({', '.join(kinds)}); a step has exactly one"))
    if not kinds and not strange:
        shop.reasons.append(Reason(path, f"has no kind; add one of {', '.join(sorted(shop.models))}"))
    return kinds[0] if len(kinds) == 1 else None


def _fields(step: Step, kind: str, path: str, shop: Workshop) -> Template | None:
    """The fields of the kind, checked against its model as far as they are known before the run."""
    model, value, here = shop.models[kind], step.others[kind], f"{path}.{kind}"
    with shop.collecting():
        outlets = replace(shop.outlets, members=outward_fields(model))
        fields = compile_template(value, here, shop.names, verbatim_fields(model), outlets)
        shop.reasons.extend(_constant_problems(model, fields, value, here))
        return fields
    return None


def _constant_problems(model: type[BaseModel], fields: Template, value: Any, path: str) -> Iterator[Reason]:
    """Problems of the fields that hold no expression; the others are checked when the step runs."""
    try:
        written = fields.evaluate({}) if fields.constant else value
        if issubclass(model, Model):
            model.model_validate(written, context=WRITTEN, by_alias=True, by_name=False)
        else:  # of another package, which may mean it otherwise
            model.model_validate(written, context=WRITTEN)
    except ValidationError as error:
        kept = [
            detail
            for detail in error.errors(include_url=False)
            if detail["type"] == "extra_forbidden"
            or not any(detail["loc"][: len(place)] == place for place in fields.dynamic)
        ]
        yield from reasons(kept, model, path)


def _retry(step: Step, path: str, shop: Workshop) -> RetryPolicy:
    """The step's policy over the default one, field by field."""
    default = shop.spec.defaults.retry if shop.spec.defaults else None
    if step.retry is None and default is None:
        return NO_RETRY
    own, base = step.retry or Retry(), default or Retry()
    delay, base_delay = own.backoff or Backoff(), base.backoff or Backoff()
    names = {name: shop.names[name] for name in ("inputs", "vars")} | {"error": None}
    when = own.when if own.when is not None else base.when
    where = f"{path}.retry.when" if own.when is not None else f"{shop.path}.defaults.retry.when"
    policy = RetryPolicy()
    return RetryPolicy(
        max=first(own.max, base.max, 3),
        initial=first(seconds(delay.initial), seconds(base_delay.initial), policy.initial),
        factor=first(delay.factor, base_delay.factor, policy.factor),
        max_delay=first(seconds(delay.max), seconds(base_delay.max), policy.max_delay),
        full_jitter=first(delay.jitter, base_delay.jitter, "full") == "full",
        when=optional(when, where, replace(shop, names=names)),
        max_elapsed=seconds(own.max_elapsed or base.max_elapsed),
    )


def first(own: T | None, base: T | None, otherwise: T) -> T:
    """The first value that is there."""
    return own if own is not None else base if base is not None else otherwise
