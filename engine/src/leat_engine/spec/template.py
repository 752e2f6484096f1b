"""A step template, as the catalogue has them and as a workflow may bring its own."""

from typing import Annotated, Any

from pydantic import Field

from leat_engine.spec.model import Model


class StepTemplate(Model):
    """A step with parameters. Steps are made of it by `use`."""

    description: Annotated[str, Field(max_length=2048)] | None = None
    """What such a step does, in a sentence."""
    parameters: Annotated[dict[str, dict[str, Any]], Field(max_length=256)] = Field(default_factory=dict)
    """Parameters by name, each a JSON Schema. One without `default` is required, unless it says `optional: true`: a
    field that holds nothing but an optional parameter that is not given is left out. With `sensitive: true` it takes an
    expression, such as one with `secret()`, and no value that would be stored with the workflow."""
    step: dict[str, Any]
    """The step without a name: its kind, and other fields of steps if they are to differ. Expressions read
    `params.NAME`, which is the value or the expression that the step gives. The step's own fields win."""
