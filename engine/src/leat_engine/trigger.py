"""From `spec.triggers` to what starts runs: schedules and expressions compiled, inputs checked. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from hashlib import blake2b
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from leat_engine.errors import ExpressionError, Reason, Rejected
from leat_engine.expression import Template, compile_condition, compile_template
from leat_engine.expression.names import Names
from leat_engine.schedule import Cron, OnMiss, Policy
from leat_engine.spec.duration import parse_duration
from leat_engine.spec.inputs import InputsSchema, compile_inputs
from leat_engine.spec.trigger import Schedule
from leat_engine.spec.trigger import Trigger as TriggerSpec
from leat_engine.spec.workflow import JsonSchema, WorkflowResourceSpec

LABEL = "leat.dev/trigger"
"""Label of a WorkflowRun: the name of the trigger that started it."""
SCHEDULED_AT = "leat.dev/scheduled-at"
EVENT_ID = "leat.dev/event-id"
"""Annotations of such a WorkflowRun: what it was started for."""

SKIP_DEADLINE = timedelta(minutes=5)
NAME_CHARS = 253
MEMBERS_OF_TRIGGER = frozenset({"name", "scheduledAt", "localTime"})
MEMBERS_OF_MESSAGE = frozenset({"id", "body", "headers", "routingKey", "exchange", "contentType", "timestamp"})
MEMBERS_OF_RECORD = frozenset({"id", "key", "value", "headers", "topic", "partition", "offset", "timestamp"})

T = TypeVar("T")

_SAMPLE = datetime(2026, 1, 1, tzinfo=UTC)


class Fate(Enum):
    """How a message is settled with its broker."""

    DONE = auto()
    REJECTED = auto()  # to the dead letters


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger of a workflow, compiled.

    Attributes:
        policy: Of a schedule; None with a queue or a topic.
        path: Field path in the Workflow, for messages.
        schema: What the workflow takes.
    """

    spec: TriggerSpec
    path: str
    policy: Policy | None
    inputs: Template
    when: Template | None
    dedupe: Template
    schema: InputsSchema

    @property
    def name(self) -> str:
        """Unique in its workflow."""
        return self.spec.name

    def inputs_at(self, moment: datetime) -> dict[str, Any]:
        """The inputs of the run for a moment of the schedule.

        Raises:
            Rejected: They are not what the workflow takes.
        """
        zone = self.spec.schedule.time_zone if self.spec.schedule else "UTC"
        local = moment.astimezone(ZoneInfo(zone))
        trigger = {"name": self.name, "scheduledAt": written(moment), "localTime": local.isoformat(timespec="seconds")}
        return self._inputs({"trigger": trigger})

    def inputs_of(self, event: Mapping[str, Any]) -> dict[str, Any] | None:
        """The inputs of the run for a message; None when it is to start none.

        Raises:
            Rejected: They are not what the workflow takes, or an expression has no value.
        """
        if self.when is not None and not _evaluated(self.when, {"event": event}):
            return None
        return self._inputs({"event": event})

    def identity(self, event: Mapping[str, Any]) -> str:
        """What makes a message the same as another one; "" when nothing does.

        Raises:
            Rejected: It is no text or number, or an expression has no value.
        """
        found = _evaluated(self.dedupe, {"event": event})
        if found is not None and (isinstance(found, bool) or not isinstance(found, str | int)):
            path = f"{self.path}.dedupe"
            raise Rejected([Reason(path, f"gives {type(found).__name__}, expected a text or a number")])
        return "" if found is None else str(found)

    def _inputs(self, bindings: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = _evaluated(self.inputs, bindings)
        self.schema.apply(values, f"{self.path}.inputs")
        return values


def compile_triggers(
    triggers: Sequence[TriggerSpec], inputs: Mapping[str, JsonSchema], path: str = "spec"
) -> tuple[Trigger, ...]:
    """Compile the triggers of a workflow that takes these inputs.

    Raises:
        Rejected: With every reason.
    """
    try:
        schema = compile_inputs(inputs, f"{path}.inputs")
    except Rejected:  # the plan says so already
        return ()
    found: list[Trigger] = []
    reasons: list[Reason] = []
    for index, spec in enumerate(triggers):
        here = f"{path}.triggers[{index}]"
        if spec.name in (earlier.name for earlier in triggers[:index]):
            reasons.append(Reason(f"{here}.name", f"{spec.name!r} is the name of another trigger already"))
        try:
            found.append(_compile(spec, schema, here))
        except Rejected as rejected:
            reasons.extend(rejected.reasons)
    if reasons:
        raise Rejected(reasons)
    return tuple(found)


def with_triggers(spec: WorkflowResourceSpec, compiling: Callable[[], T]) -> tuple[T, tuple[Trigger, ...]]:
    """What ``compiling`` makes of a workflow, and its triggers.

    Raises:
        Rejected: With every reason of both.
    """
    reasons: list[Reason] = []
    triggers: tuple[Trigger, ...] = ()
    try:
        triggers = compile_triggers(spec.triggers, spec.inputs)
    except Rejected as rejected:
        reasons.extend(rejected.reasons)
    try:
        compiled = compiling()
    except Rejected as rejected:
        raise Rejected([*rejected.reasons, *reasons]) from rejected
    if reasons:
        raise Rejected(reasons)
    return compiled, triggers


def run_body(workflow: str, trigger: Trigger, name: str, inputs: Mapping[str, Any], why: Mapping[str, str]) -> Any:
    """The WorkflowRun that a trigger starts. ``why``: its annotations."""
    metadata = {"name": name, "labels": {LABEL: trigger.name}, "annotations": dict(why)}
    return {
        "apiVersion": "leat.dev/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": metadata,
        "spec": {"workflow": {"name": workflow}, "inputs": dict(inputs)},
    }


def run_at(workflow: str, trigger: Trigger, moment: datetime) -> Any:
    """The WorkflowRun for a moment of a schedule: the same one each time.

    Raises:
        Rejected: As `Trigger.inputs_at`.
    """
    name = name_of(workflow, trigger.name, f"{moment.astimezone(UTC):%Y%m%d%H%M}")
    return run_body(workflow, trigger, name, trigger.inputs_at(moment), {SCHEDULED_AT: written(moment)})


def run_for(workflow: str, trigger: Trigger, event: Mapping[str, Any], otherwise: str) -> Any | None:
    """The WorkflowRun for a message, the same one for equal messages; None when it is to start none.

    Args:
        workflow: Name of the Workflow.
        trigger: Whose message it is.
        event: What the expressions read.
        otherwise: What tells this delivery from others, if nothing makes the message the same as another one.

    Raises:
        Rejected: It fits no run; with every reason.
    """
    inputs = trigger.inputs_of(event)
    if inputs is None:
        return None
    identity = trigger.identity(event)
    digest = blake2b((identity or otherwise).encode(), digest_size=10, key=b"event" if identity else b"delivery")
    name = name_of(workflow, trigger.name, digest.hexdigest())
    return run_body(workflow, trigger, name, inputs, {EVENT_ID: identity[:256]} if identity else {})


def name_of(workflow: str, trigger: str, which: str) -> str:
    """The name of a run. Only the workflow's part may hold a dot, so no two triggers share one."""
    name = f"{workflow}.{trigger}.{which}"
    if len(name) <= NAME_CHARS:
        return name
    digest = blake2b(workflow.encode(), digest_size=8).hexdigest()
    room = NAME_CHARS - len(f"-{digest}.{trigger}.{which}")
    return f"{workflow[:room].rstrip('.-')}-{digest}.{trigger}.{which}"


def written(moment: datetime) -> str:
    """A moment in UTC, as Kubernetes writes it."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _compile(spec: TriggerSpec, schema: InputsSchema, path: str) -> Trigger:
    names = _names(spec)
    inputs = compile_template(spec.inputs, f"{path}.inputs", names)
    when = None if spec.when is None else compile_condition(spec.when, f"{path}.when", names)
    identity = "${ event.id }" if spec.dedupe is None and spec.schedule is None else spec.dedupe
    dedupe = compile_template(identity, f"{path}.dedupe", names)
    policy = None if spec.schedule is None else _policy(spec.schedule)
    trigger = Trigger(spec, path, policy, inputs, when, dedupe, schema)
    if spec.schedule is not None:
        trigger.inputs_at(_SAMPLE)  # all that is read is known but for the time, and of that the form
        return trigger
    if reasons := [*_judge(inputs, schema, f"{path}.inputs"), *_tells_apart(dedupe, f"{path}.dedupe")]:
        raise Rejected(reasons)
    return trigger


def _names(spec: TriggerSpec) -> Names:
    if spec.schedule is not None:
        return {"trigger": MEMBERS_OF_TRIGGER}
    return {"event": MEMBERS_OF_MESSAGE if spec.kafka is None else MEMBERS_OF_RECORD}


def _policy(schedule: Schedule) -> Policy:
    on_miss = OnMiss(schedule.on_miss)
    deadline = SKIP_DEADLINE if on_miss is OnMiss.SKIP else None
    if schedule.starting_deadline is not None:
        deadline = timedelta(seconds=parse_duration(schedule.starting_deadline))
    return Policy(Cron.parse(schedule.cron, schedule.time_zone), on_miss, deadline, schedule.suspend)


def _judge(inputs: Template, schema: InputsSchema, path: str) -> Iterator[Reason]:
    """What no message mends: inputs that are not there, none for one that is required, values of the wrong kind."""
    awaited = {spot[0] for spot in inputs.dynamic}
    written: Mapping[str, Any] = inputs.source
    yield from schema.judge({name: None if name in awaited else (value,) for name, value in written.items()}, path)


def _tells_apart(dedupe: Template, path: str) -> Iterator[Reason]:
    if dedupe.constant:
        message = f"found {dedupe.source!r}, the same for every message, so only the first would start a run"
        yield Reason(path, f"{message}; write an expression such as ${{ event.id }}")


def _evaluated(template: Template, bindings: Mapping[str, Any]) -> Any:
    try:
        return template.evaluate(bindings)
    except ExpressionError as error:
        raise Rejected([Reason("", str(error))]) from error
