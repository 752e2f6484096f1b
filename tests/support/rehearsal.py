"""Runs that are played in memory, by the functions that real runners call."""

from dataclasses import replace
from datetime import UTC, datetime

from leat_cli.order import Callee, Order, plan_of
from leat_cli.rehearsal.cast import Props, Secrets, Unwatched
from leat_cli.rehearsal.scene import Scene
from leat_cli.rehearsal.stage import play
from leat_engine.result import Failed, StepError, Succeeded
from leat_engine.spec import parse_spec
from leat_runner.secrets import SecretReader

START = datetime(2026, 1, 1, tzinfo=UTC)


class Functions(Unwatched):
    """Answers as `tests/support/functions.py` does: `add`, and `stumble`, whose first attempt fails."""

    async def answer(self, call):
        if call.kind != "function":
            return None
        if call.fields["name"] == "stumble" and call.number == 1:
            return Failed(StepError("Stumbled", "not yet"))
        values = call.fields.get("with", {}).get("values", [])
        return Succeeded(1 + sum(value or 0 for value in values))


def rehearsed(spec, cast=None, inputs=None, cues=(), callees=()):
    """The score of a run of this spec; ``callees``: names and specs of Workflows that steps call."""
    parsed = parse_spec(spec)
    plan = plan_of(parsed, "spec")
    order = Order("default", "x", "w", parsed.as_json(), plan, plan.inputs.apply(inputs or {}))
    found = [(name, parse_spec(written)) for name, written in callees]
    order = replace(
        order, callees=tuple(Callee("default", name, each.as_json(), plan_of(each, "spec")) for name, each in found)
    )
    return play(Scene(order, cast or Functions(), Secrets(SecretReader([Props()])), START, tuple(cues)))
