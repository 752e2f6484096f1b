"""Runs that are played in memory, by the functions that real runners call."""

from datetime import UTC, datetime

from leat_cli.order import Order, plan_of
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


def rehearsed(spec, cast=None, inputs=None, cues=()):
    """The score of a run of this spec."""
    parsed = parse_spec(spec)
    plan = plan_of(parsed, "spec")
    order = Order("default", "x", "w", parsed.as_json(), plan, plan.inputs.apply(inputs or {}))
    return play(Scene(order, cast or Functions(), Secrets(SecretReader([Props()])), START, tuple(cues)))
