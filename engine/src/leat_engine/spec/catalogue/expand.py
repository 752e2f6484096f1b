"""Turns the steps of a spec that say `use` into the steps that their templates make of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from leat_engine import limits
from leat_engine.errors import Reason, Rejected
from leat_engine.expression import MEMBERS_OF_RUN, Names, Outlets, Template, compile_template
from leat_engine.expression.scan import CompileError
from leat_engine.spec.catalogue.fill import ABSENT, Budget, NotFilled, fill
from leat_engine.spec.catalogue.library import library
from leat_engine.spec.inputs import compile_inputs
from leat_engine.spec.path import field_path
from leat_engine.spec.template import StepTemplate
from leat_engine.spec.workflow import Step
from leat_engine.spelling import unknown

USE, WITH, TEMPLATES = "use", "with", "templates"
_LISTS = ("steps", "finally")
_COMMON = frozenset(info.alias or name for name, info in Step.model_fields.items()) - {"steps", "switch"}
_NOT_FOR_TEMPLATES = frozenset({"name", "needs", USE, WITH})


def expanded(spec: Any, path: str, reasons: list[Reason]) -> Any:
    """A workflow's spec, as it was written, without `use`, `with` and `templates`.

    Args:
        spec: What the user wrote; of the wrong shape, perhaps: then it comes back as it is, for others to judge.
        path: Where it is.
        reasons: What is wrong is added to it; such a step comes back without what is wrong.
    """
    if not isinstance(spec, Mapping):
        return spec
    expansion = _Expansion(_names(spec), reasons)
    rest = dict(spec)
    if isinstance(own := spec.get(TEMPLATES), Mapping) and expansion.take(own, f"{path}.{TEMPLATES}"):
        del rest[TEMPLATES]
    return expansion.within(rest, path, 0)


@dataclass(slots=True)
class _Expansion:
    """One spec on its way.

    Attributes:
        names: What expressions of values may read, as far as it is known before the spec is compiled.
        own: The templates that the workflow brings; None for one that is wrong.
    """

    names: Names
    reasons: list[Reason]
    own: dict[str, StepTemplate | None] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)

    def take(self, own: Mapping[str, Any], path: str) -> bool:
        """Take the workflow's own templates. Gives False if some are none at all, for the spec's model to say why."""
        shapes = True
        for name, written in own.items():
            here = f"{path}.{name}"
            try:
                template = self.own[name] = StepTemplate.model_validate(written, by_alias=True, by_name=False)
            except ValidationError:
                self.own[name], shapes = None, False
                continue
            if "/" in name:
                message = "is a name as those of the catalogue are; expected one without `/`"
                self.reasons.append(Reason(here, message))
            for word in sorted(_NOT_FOR_TEMPLATES & template.step.keys()):
                message = "belongs to the steps that use the template; remove it here"
                self.reasons.append(Reason(f"{here}.step.{word}", message))
            try:
                compile_inputs(template.parameters, f"{here}.parameters")
            except Rejected as rejected:
                self.reasons.extend(rejected.reasons)
                self.own[name] = None
        return shapes

    def within(self, value: Mapping[str, Any], path: str, depth: int) -> dict[str, Any]:
        """What holds steps, with these expanded."""
        if depth > limits.VALUE_DEPTH:
            return dict(value)
        found = dict(value)
        for key in _LISTS:
            if isinstance(listed := found.get(key), list):
                found[key] = [self.step(each, f"{path}.{key}[{n}]", depth + 1) for n, each in enumerate(listed)]
        if isinstance(cases := found.get("switch"), list):
            found["switch"] = [
                self.within(each, f"{path}.switch[{n}]", depth + 1) if isinstance(each, Mapping) else each
                for n, each in enumerate(cases)
            ]
        if isinstance(body := found.get("compensate"), Mapping):
            found["compensate"] = self.step(body, f"{path}.compensate", depth + 1)
        return found

    def step(self, step: Any, path: str, depth: int) -> Any:
        """A step, expanded if it says so, and so those inside of it."""
        if not isinstance(step, Mapping):
            return step
        if USE not in step and WITH not in step:
            return self.within(step, path, depth)
        rest = {key: value for key, value in step.items() if key not in {USE, WITH}}
        before = len(self.reasons)
        made = self._made(step, path)
        if len(self.reasons) == before and (both := sorted(made.keys() & rest.keys() - _COMMON)):
            message = f"has `{both[0]}` from its template {step[USE]!r} already; remove one of them"
            self.reasons.append(Reason(f"{path}.{both[0]}", message))
        return made | rest

    def _made(self, step: Mapping[str, Any], path: str) -> dict[str, Any]:
        """What its template makes of a step; nothing if something is wrong with it."""
        name, given = step.get(USE), step.get(WITH, {})
        if USE not in step:
            self.reasons.append(Reason(f"{path}.{WITH}", "belongs to a step with `use`; add it, or remove this"))
        elif not isinstance(name, str):
            expected = "expected the name of a template, such as slack/post-message"
            self.reasons.append(Reason(f"{path}.{USE}", f"found {type(name).__name__}, {expected}"))
        elif name not in self.own and name not in library():
            self.reasons.append(Reason(f"{path}.{USE}", unknown("template", name, [*self.own, *library()])))
        elif not isinstance(given, Mapping):
            self.reasons.append(Reason(f"{path}.{WITH}", "expected parameters by name"))
        elif (template := self.own[name] if name in self.own else library()[name]) is not None:
            return self._filled(template, name, given, path)
        return {}

    def _filled(self, template: StepTemplate, name: str, given: Mapping[str, Any], path: str) -> dict[str, Any]:
        try:
            values = self._values(template, name, given, f"{path}.{WITH}")
            filled = fill(template.step, values, self.budget)
        except Rejected as rejected:
            self.reasons.extend(rejected.reasons)
        except NotFilled as error:
            where = f"{WITH}.{error.parameter}" if error.parameter in given else USE
            self.reasons.append(Reason(f"{path}.{where}", f"{error} (template {name!r})"))
        except CompileError as error:
            self.reasons.append(Reason(f"{path}.{USE}", f"template {name!r}: {error}"))
        else:
            made: dict[str, Any] = filled
            return made
        return {}

    def _values(self, template: StepTemplate, name: str, given: Mapping[str, Any], path: str) -> dict[str, Any]:
        """A value for every parameter.

        Raises:
            Rejected: What is given is unknown, missing, or not what the parameters' schemas say.
        """
        schemas = template.parameters
        compiled = compile_template(given, path, self.names, outlets=Outlets(frozenset(given)))
        dynamic = {field_path(path, place) for place in compiled.dynamic}
        problems = [
            Reason(f"{path}.{key}", f"{unknown('parameter', key, schemas)} (of template {name!r})")
            for key in given
            if key not in schemas
        ]
        problems += [
            Reason(f"{path}.{key}", f"is stored with the workflow as it stands here; {_INSTEAD}")
            for key in given
            if schemas.get(key, {}).get("sensitive") and not _reads(compiled, f"{path}.{key}")
        ]
        needed = {key: schema for key, schema in schemas.items() if key in given or not schema.get("optional")}
        inputs = compile_inputs(needed, path)
        try:
            inputs.apply({key: value for key, value in given.items() if key in schemas}, path)
        except Rejected as rejected:
            problems += [
                Reason(reason.path, f"{reason.message} ({_about(template, name, reason.path, path)})")
                for reason in rejected.reasons
                if not any(_is_at(reason.path, place) for place in dynamic)
            ]
        if problems:
            raise Rejected(problems)
        return {key: given.get(key, schema.get("default", ABSENT)) for key, schema in schemas.items()}


_INSTEAD = "write an expression with secret('NAME', 'KEY')"


def _reads(compiled: Template, path: str) -> bool:
    """Whether a value is or holds an expression that reads something."""
    return any(_is_at(spot.path, path) and (spot.reads or "secret(" in spot.text) for spot in compiled.expressions())


def _about(template: StepTemplate, name: str, path: str, base: str) -> str:
    """What a parameter is for."""
    parameter = path.removeprefix(f"{base}.").partition(".")[0].partition("[")[0]
    said = template.parameters.get(parameter, {}).get("description")
    return f"template {name!r}: {said}" if said else f"template {name!r}"


def _is_at(path: str, place: str) -> bool:
    return path == place or path.startswith((f"{place}.", f"{place}["))


def _names(spec: Mapping[str, Any]) -> Names:
    """What expressions of values may read. Which steps there are is known when the spec is compiled."""
    inputs, variables = spec.get("inputs", {}), spec.get("vars", {})
    return {
        "inputs": frozenset(inputs) if isinstance(inputs, Mapping) else None,
        "vars": frozenset(variables) if isinstance(variables, Mapping) else None,
        "run": MEMBERS_OF_RUN,
        **dict.fromkeys(("steps", "now", "item", "index", "iteration", "last", "error")),
    }
