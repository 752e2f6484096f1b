"""The fields of the step kind `workflow`: a run of another Workflow."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from leat_engine.spec.model import Model

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


def _object_name(name: str) -> str:
    if _NAME.fullmatch(name):
        return name
    raise ValueError(f"found {name[:80]!r}, expected a name of lower case letters, digits, `-` and `.`")


class ChildRun(Model):
    """Starts a run of another Workflow of the namespace, a child of this one, and waits for it without a runner.

    The child is of the revision that the Workflow has when the step starts. Its output is the step's; a child that does
    not succeed fails the step with `ChildFailed`. What is asked of the parent (cancel, suspend, priority) is asked of
    the child, and no child outlives the timeouts of the step and of the parent.
    """

    name: Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_object_name)]
    """Name of the Workflow. It may come after the step has started: the step waits for it for a while, and then fails
    with `WorkflowNotFound`."""
    inputs: Annotated[dict[str, Any], Field(max_length=256)] = Field(default_factory=dict)
    """Inputs of the child by name, as its `inputs` describe them."""
    mode: Literal["wait", "detach"] = "wait"
    """`wait` for the child's end, or `detach`: the step ends as soon as the child is there, with `{run, id}`, and the
    child goes its own way."""
