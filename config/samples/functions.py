"""Steps of the samples that are written in Python. Ordinary functions: call them in a unit test as any other."""

from pydantic import BaseModel

import leat


class Item(BaseModel):
    """A line of an order. What does not fit it never reaches the function."""

    price: float
    count: int


@leat.step(name="add-up")
def add_up(items: list[Item]) -> float:
    """Return what the items cost together."""
    if not items:
        raise leat.StepFailed("there is nothing to add up", type="EmptyOrder", retriable=False)
    return sum(item.price * item.count for item in items)


@leat.step
async def write_invoice(total: float, ctx: leat.StepContext) -> dict[str, str]:
    """Return the invoice, with the key under which a payment service would know it again."""
    text = f"Please pay {total:.2f} for order {ctx.run_name} (attempt {ctx.attempt})."
    return {"text": text, "key": ctx.idempotency_key}
