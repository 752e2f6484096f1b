"""What is right by the rules of the language and still hardly meant. Nothing is rejected for it.

`leat lint` and `kubectl apply` tell it. Each rule is a function from a plan to what it found; `RULES` has them by the
names by which people read and silence them.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from leat_engine.errors import Reason
from leat_engine.expression import Spot, Template
from leat_engine.opener import Fan
from leat_engine.plan import END, Plan, PlanStep
from leat_engine.reach import never_run
from leat_engine.result import State
from leat_engine.retry import NO_RETRY
from leat_engine.spec.kinds import outward_fields
from leat_engine.spelling import unknown

ALLOW = "leat.dev/lint-allow"
"""Annotation of a Workflow, or of a run that brings its own: rules that it may break, `no-retry` everywhere or
`no-retry:STEP` at one step, with commas between."""

_WORK = frozenset({"http", "script", "container", "function", "sql", "publish"})
"""Kinds that wait for somebody who may never answer."""
_OWN_TIME = frozenset({"sql", "publish"})
"""Kinds that wait for so long and no longer, also when nobody says how long."""
_SERVED = frozenset({"http", "sql", "publish", "email", "container"})
"""Kinds that ask somebody else, whom a runner's slots do not spare."""
_SHARED = frozenset({"inputs", "vars", "run"})
"""What every item reads alike."""
_PASSWORD_IN_URL = re.compile(r"[a-z]+://[^/@\s$]*:[^/@\s$]+@")
_CONFIDENTIAL = re.compile(r"password|passwd|secret|token|api[-_]?key|^(proxy-)?authorization$|^cookie$", re.IGNORECASE)
"""Names of fields, headers and variables whose values nobody should see."""


@dataclass(frozen=True, slots=True)
class Advice(Reason):
    """A doubtful place.

    Attributes:
        rule: Name of the rule.
        step: Name of the step that it is about, or "".
    """

    rule: str = ""
    step: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message} [{self.rule}]"


Found = Iterator[tuple[str, str, str]]
"""Field paths, messages, names of steps."""


def advice(plan: Plan, annotations: Mapping[str, Any] | None = None) -> Iterator[Advice]:
    """Every doubtful place of a plan that the annotations of its resource do not allow."""
    allowed = [word.strip() for word in str((annotations or {}).get(ALLOW) or "").split(",") if word.strip()]
    for word in allowed:
        if (name := word.partition(":")[0]) not in RULES:
            path = f"metadata.annotations['{ALLOW}']"
            yield Advice(path, unknown("rule", name, RULES), "unknown-rule")
    for rule, look in RULES.items():
        for path, message, step in look(plan):
            if rule not in allowed and f"{rule}:{step}" not in allowed:
                yield Advice(path, message, rule, step)


def _never_runs(plan: Plan) -> Found:
    """Steps that no run comes to."""
    for step, why in never_run(plan):
        yield step.path, f"never runs: {why}", step.name


def _error_never_seen(plan: Plan) -> Found:
    """Expressions that read the error of a step whose failure keeps this one from running."""
    for step in plan.steps:
        taken = {plan.steps[edge.step].name: edge.on for edge in step.needs}
        for name in sorted(step.fields.reads_error_of | (step.when.reads_error_of if step.when else frozenset())):
            if State.FAILED not in taken.get(name, {State.FAILED}):  # of a step around the body, its opener tells
                message = (
                    f"reads steps.{name}.error, which is always null here: the step does not run when {name!r} fails"
                )
                yield step.path, f"{message}; write needs: [{{step: {name}, on: [Failed]}}]", step.name


def _no_timeout(plan: Plan) -> Found:
    """Steps that may wait for ever."""
    if plan.timeout is not None:
        return
    for step in _steps(plan):
        endless = step.kind in _WORK - _OWN_TIME and step.timeout is None and step.deadline is None
        if endless and not _within_time(plan, step):
            message = (
                f"{step.kind} without a timeout may run for ever; add `timeout` here or in `defaults`, such as 30s"
            )
            yield f"{step.path}.{step.kind}", message, step.name


def _within_time(plan: Plan, step: PlanStep) -> bool:
    """Whether a body around the step has a time limit."""
    opener = plan.steps[plan.bodies[step.body].opener]
    return opener.id != END and (opener.timeout is not None or _within_time(plan, opener))


def _no_retry(plan: Plan) -> Found:
    """Requests whose first lost packet ends the run."""
    handled = {edge.step for step in _steps(plan) for edge in step.needs if State.FAILED in edge.on}
    for step in _steps(plan):
        # A policy that says `max: 0` is another one with the same meaning: whoever wrote it has thought of it.
        if step.kind == "http" and step.retry is NO_RETRY and step.id not in handled:
            message = (
                "one failed request fails the step for good; add `retry` here or in `defaults`, such as {max: 3}, "
            )
            yield f"{step.path}.http", message + "or {max: 0} if that is meant", step.name


def _unbounded_fan_out(plan: Plan) -> Found:
    """Lists that somebody outside makes as long as they like, with hundreds of requests at once for them."""
    asking = [step for step in _steps(plan) if step.kind in _SERVED and not _limited(step)]
    for step in _steps(plan):
        opens = step.opens
        if not isinstance(opens, Fan) or opens.stated or opens.items.dynamic != {()}:
            continue
        read = {plan.steps[node].name: plan.steps[node].kind for node in step.reads}
        source = next((name for spot in opens.items.expressions() if (name := _unbounded(spot, plan, read))), "")
        inner = next((each for each in asking if opens.body in _around(plan, each)), None)
        if source and inner is not None:
            message = (
                f"{source} may have any number of items, and {inner.kind} of step {inner.name!r} is done for "
                f"{opens.parallel} of them at once; write `maxParallel`, a limit of that step (concurrency, rateLimit)"
            )
            more = ", or `maxItems` of the input" if source.startswith("inputs.") else ""
            yield f"{step.path}.forEach", message + more, step.name


def _same_question(plan: Plan) -> Found:
    """Approvals that several items wait for under one name: an answer is refused, as nobody knows which is meant."""
    for step in _steps(plan):
        if step.kind != "approval":
            continue
        name = f"{step.path}.approval.name"
        own = any(
            path[0] not in _SHARED for spot in step.fields.expressions() if spot.path == name for path in spot.reads
        )
        around = [
            plan.steps[plan.bodies[number].opener] for number in _around(plan, step) if plan.bodies[number].opener
        ]
        fan = next((each for each in around if isinstance(each.opens, Fan) and each.opens.parallel > 1), None)
        if fan is not None and not own:
            message = (
                f"items of step {fan.name!r} that wait at the same time have one name for it, and no answer is taken; "
                "give each its own: `name: approve-${ index }`, or write `maxParallel: 1`"
            )
            yield f"{step.path}.approval", message, step.name


def _limited(step: PlanStep) -> bool:
    return step.restraint is not None and (step.restraint.slots is not None or step.restraint.rate is not None)


def _unbounded(spot: Spot, plan: Plan, kinds: Mapping[str, str]) -> str:
    """What an expression reads that may be a list of any length, or "". ``kinds``: of the steps that it reads."""
    for path in spot.reads:
        if path[0] == "inputs" and len(path) > 1 and path[1] not in plan.inputs.bounded:
            return f"inputs.{path[1]}"
        if path[0] == "steps" and len(path) > 1 and kinds.get(path[1]) in _WORK:
            return f"the output of step {path[1]!r}"
    return ""


def _around(plan: Plan, step: PlanStep) -> Iterator[int]:
    """The bodies that a step is within, the innermost first."""
    number = step.body
    while number:
        yield number
        number = plan.bodies[number].parent


def _sensitive_stored(plan: Plan) -> Found:
    """What is made of sensitive inputs, where it is stored and shown: only exact copies of them are redacted."""
    copies, made = set[str](), set[str]()
    for spot in _spots(plan.vars):
        if _sensitive(spot, plan, frozenset()):
            (copies if _copies(spot) else made).add(_member(spot.path.partition(".vars.")[2]))
    for step in _steps(plan):
        base, outward = f"{step.path}.{step.kind}", outward_fields(step.model)
        for spot in step.fields.expressions():
            if _member(spot.path.removeprefix(base).removeprefix(".")) not in outward:
                yield from _leaks(spot, plan, copies, made, step.name)
    for spot in _spots(plan.output):
        yield from _leaks(spot, plan, copies, made, "")


def _leaks(spot: Spot, plan: Plan, copies: Collection[str], made: Collection[str], step: str) -> Found:
    """An expression in a field that is stored. Variables are ``copies`` of sensitive inputs, or ``made`` of them."""
    name = "" if _copies(spot) else _sensitive(spot, plan, copies)
    read = (path[1] for path in spot.reads if path[0] == "vars" and len(path) > 1)
    if found := name or next((f"variable {each!r}" for each in read if each in made), ""):
        message = f"stores and shows what is made of the sensitive {found}; only exact copies are redacted. Do it in"
        yield spot.path, f"{message} a field that is sent to the outside, such as http.body, or leave it out", step


def _copies(spot: Spot) -> bool:
    """Whether an expression gives what it reads as it is."""
    return spot.text in {".".join(path) for path in spot.reads}


def _member(path: str) -> str:
    """The first name of a field path."""
    return path.partition(".")[0].partition("[")[0]


def _sensitive(spot: Spot, plan: Plan, copies: Collection[str]) -> str:
    """The first sensitive input, or copy of one, that an expression reads, or ""."""
    for path in spot.reads:
        if path[0] == "inputs" and len(path) > 1 and path[1] in plan.sensitive:
            return f"input {path[1]!r}"
        if path[0] == "vars" and len(path) > 1 and path[1] in copies:
            return f"variable {path[1]!r}"
    return ""


def _secret_written(plan: Plan) -> Found:
    """Passwords that stand in the workflow itself."""
    for step in _steps(plan):
        if step.kind not in _WORK | _SERVED:
            continue
        for path, name, text in _texts(step.fields.source, f"{step.path}.{step.kind}", ""):
            if _PASSWORD_IN_URL.match(text) or (_CONFIDENTIAL.search(name) and text and "${" not in text):
                message = "holds a password, which everybody may read who may read the workflow; keep it in a Secret,"
                yield path, f"{message} and write an expression with secret('NAME', 'KEY')", step.name


def _texts(value: Any, path: str, name: str) -> Iterator[tuple[str, str, str]]:
    """Texts in a field, with their paths, and the names of those that log in, send headers or make an environment."""
    match value:
        case str():
            yield path, name, value
        case Mapping():
            for key, member in value.items():
                named = key == "password" or path.endswith((".headers", ".env"))
                yield from _texts(member, f"{path}.{key}", key if named else "")
        case list():
            for index, item in enumerate(value):
                yield from _texts(item, f"{path}[{index}]", "")


def _unused(plan: Plan) -> Found:
    """Inputs and variables that no expression reads."""
    root = plan.steps[1].path.partition(".steps[")[0]
    read = {path for template in _templates(plan) for spot in template.expressions() for path in spot.reads}
    known = {"inputs": sorted(plan.inputs.names), "vars": plan.vars.keys if plan.vars else ()}
    for variable, names in known.items():
        if (variable,) in read:
            continue  # as a whole
        used = {path[1] for path in read if path[0] == variable}
        for name in names:
            if name not in used:
                yield (
                    f"{root}.{variable}.{name}",
                    "is read by no expression; remove it, or mend the name that reads it",
                    "",
                )


def _templates(thing: object) -> Iterator[Template]:
    """Every template in a plan, wherever it is: a field that the plan will have one day counts too."""
    if isinstance(thing, Template):
        yield thing
    elif isinstance(thing, tuple):
        for one in thing:
            yield from _templates(one)
    elif is_dataclass(thing) and not isinstance(thing, type):
        for field in fields(thing):
            yield from _templates(getattr(thing, field.name))


def _steps(plan: Plan) -> Iterator[PlanStep]:
    return (step for step in plan.steps if step.id > END)


def _spots(template: Template | None) -> Iterable[Spot]:
    return () if template is None else template.expressions()


RULES: Mapping[str, Callable[[Plan], Found]] = {
    "never-runs": _never_runs,
    "error-never-seen": _error_never_seen,
    "no-timeout": _no_timeout,
    "no-retry": _no_retry,
    "unbounded-fan-out": _unbounded_fan_out,
    "same-question": _same_question,
    "sensitive-stored": _sensitive_stored,
    "secret-written": _secret_written,
    "unused": _unused,
}
"""The rules by their names."""
