"""The Restate service: one handler with five durable no-op steps."""

# Restate lives in an environment of its own.
# mypy: disable-error-code="import-not-found, untyped-decorator"

import restate

from bench.load import STEPS

service = restate.Service("Bench")


async def noop() -> None:
    """Nothing, durably."""


@service.handler()
async def five(ctx: restate.Context) -> None:
    """Each step is journalled before the next one starts."""
    for number in range(STEPS):
        await ctx.run_typed(f"step-{number}", noop)


app = restate.app([service])
