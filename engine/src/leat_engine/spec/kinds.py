"""The fields of the built-in step kinds, and how the kinds that are installed are found."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, Field, RootModel, model_validator

from leat_engine import limits
from leat_engine.spec.duration import Duration
from leat_engine.spec.file_name import file_name
from leat_engine.spec.model import Model

GROUP = "leat.specs"
_STATUSES = re.compile(r"[1-5](xx|[0-9]{2}(-[1-5][0-9]{2})?)")


def _statuses(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
        return str(value)
    if isinstance(value, str) and _STATUSES.fullmatch(value):
        return value
    raise ValueError("expected a status such as 200, a class such as 2xx, or a range such as 200-204")


def _rfc3339(value: object) -> object:
    if isinstance(value, str):
        return value
    raise ValueError("expected a time such as 2030-01-31T12:00:00Z, in quotes")


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Marks a field of a kind's spec model that holds no expressions: ``${X}`` in it is left alone."""


def verbatim_fields(model: type[BaseModel]) -> frozenset[str]:
    """The fields of a kind that hold no expressions, as they are written."""
    return _marked(model, Verbatim)


def _marked(model: type[BaseModel], mark: type) -> frozenset[str]:
    marked = (f.alias or name for name, f in model.model_fields.items() if any(isinstance(m, mark) for m in f.metadata))
    return frozenset(marked)


@dataclass(frozen=True, slots=True)
class Outward:
    """Marks a field of a kind's spec model that is sent to the outside: ``secret()`` may stand in it.

    The kind neither stores nor shows it. What the attempt gives back is masked by the runner.
    """


def outward_fields(model: type[BaseModel]) -> frozenset[str]:
    """The fields of a kind in which secrets may stand, as they are written."""
    return _marked(model, Outward)


StatusRange = Annotated[str, BeforeValidator(_statuses, json_schema_input_type=int | str)]
Text = str | int | float | bool


def status_expected(status: int, expect: list[str]) -> bool:
    """Whether an HTTP status is one of the expected ones, written as ``200``, ``2xx`` or ``200-204``."""
    for item in expect:
        low, _, high = item.replace("xx", "00").partition("-")
        top = int(high) if high else int(low) + 99 if item.endswith("xx") else int(low)
        if int(low) <= status <= top:
            return True
    return False


class Http(Model):
    """Sends an HTTP request. The output is `{status, headers, body}`; a JSON body is parsed."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    """Request method."""
    url: Annotated[str, Field(min_length=1, max_length=8192)]
    """Where to send it: an absolute http or https URL."""
    headers: Annotated[dict[str, Text], Outward()] = Field(default_factory=dict)
    """Request headers by name."""
    query: Annotated[dict[str, Text | list[Text] | None], Outward()] = Field(default_factory=dict)
    """Query parameters by name; a list repeats the parameter, null leaves it out."""
    body: Annotated[Any, Outward()] = None
    """Request body: text is sent as it is, an artifact as the file that it is, anything else as JSON."""
    expect: Annotated[list[StatusRange], Field(min_length=1, max_length=32)] = Field(default_factory=lambda: ["2xx"])
    """Statuses that count as success: codes (`404`), classes (`2xx`) or ranges (`200-204`). Others fail the attempt
    with `HttpStatus`."""
    follow_redirects: bool = False
    """Whether to follow redirects."""
    max_response_bytes: Annotated[int, Field(ge=1, le=limits.ARTIFACT_BYTES)] = limits.OUTPUT_BYTES
    """The largest answer that is read; a larger one fails the attempt with `TooLarge`. An answer above 1 MiB goes to
    the artifact store, and the output's `body` is a reference to it."""


class Script(Model):
    """Runs a script in a process of its own.

    What it writes to the file `$LEAT_OUTPUT` is the output: JSON if it parses, text otherwise. Another exit code than 0
    fails the attempt with `ExitCode`.
    """

    shell: Literal["bash", "python"] = "bash"
    """The interpreter."""
    run: Annotated[str, Verbatim(), Field(min_length=1, max_length=limits.OUTPUT_BYTES)]
    """The script. It holds no expressions, `${X}` in it is the shell's: values reach it by `env` and `stdin`."""
    env: Annotated[dict[str, Any], Outward()] = Field(default_factory=dict)
    """Environment variables by name; values that are no text are given as JSON."""
    stdin: Annotated[Any, Outward()] = None
    """What the script reads from its standard input: text as it is, an artifact as the file that it is, anything else
    as JSON."""
    files: Annotated[
        dict[Annotated[str, AfterValidator(file_name)], Any], Outward(), Field(max_length=limits.FILES)
    ] = Field(default_factory=dict)
    """Files that the script finds in its directory, by name: artifacts of other steps, such as
    `${ steps.make.artifacts.report }`, text as it is, anything else as JSON."""


class Transform(RootModel[Any]):
    """Gives a value, which is the output. It runs nowhere: it is evaluated as soon as its needs are done."""


class Wait(Model):
    """Waits without holding a runner. The output is null."""

    duration: Duration | None = None
    """How long to wait; this or `until`."""
    until: Annotated[AwareDatetime, BeforeValidator(_rfc3339), Field(strict=False)] | None = None
    """When to go on, RFC 3339 with a time zone. A time that has passed does not wait."""

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if (self.duration is None) == (self.until is None):
            raise ValueError("expected exactly one of `duration` and `until`")
        return self


class Function(Model):
    """Calls a function that the pool's image registered with `@leat.step`. What it returns is the output."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name that the function is registered by."""
    arguments: Annotated[dict[str, Any], Outward()] = Field(default={}, alias="with")
    """Arguments by name."""


def _camel_case(word: str) -> str:
    if re.fullmatch(r"[A-Z][A-Za-z0-9]{0,62}", word):
        return word
    raise ValueError(f"found {word!r}, expected a CamelCase word such as OutOfStock")


class Fail(Model):
    """Fails the step, and with it the run unless another step handles it. It is never tried again."""

    message: Annotated[str, Field(max_length=4096)]
    """What went wrong, for people."""
    reason: Annotated[str, AfterValidator(_camel_case)] = "Fail"
    """CamelCase word for machines."""
    details: dict[str, Any] = Field(default_factory=dict)
    """More about it; readable as `error.details.KEY` and `error.KEY`."""


@lru_cache(maxsize=1)
def load_models() -> Mapping[str, type[BaseModel]]:
    """The spec models of every installed kind by its name: the entry points of the group ``leat.specs``.

    Raises:
        TypeError: An entry point is no pydantic model; the message names it.
    """
    models: dict[str, type[BaseModel]] = {}
    for entry in entry_points(group=GROUP):
        model = entry.load()
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise TypeError(f"the entry point {entry.name!r} = {entry.value!r} of {GROUP} is no pydantic model")
        models[entry.name] = model
    return MappingProxyType(models)
