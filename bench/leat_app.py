"""The functions that Leat's runners call."""

import leat


@leat.step
async def noop() -> None:
    """Nothing: what is measured is everything around it."""


@leat.step
async def numbers(count: int) -> list[int]:
    """A list for a `forEach`."""
    return list(range(count))
