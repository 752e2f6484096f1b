"""The function that Leat's runners call in every step."""

import leat


@leat.step
async def noop() -> None:
    """Nothing: what is measured is everything around it."""
