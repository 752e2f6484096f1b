"""Durations as users write them: ``500ms``, ``30s``, ``1h30m``, ``2d``."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from leat_engine import limits

PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> float:
    """Seconds of a duration.

    Raises:
        ValueError: The text is no duration, or one beyond a year.
    """
    if not re.fullmatch(PATTERN, text):
        raise ValueError(f"found {text!r}, expected a duration such as 500ms, 30s, 1h30m or 2d")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if seconds > limits.DURATION_SECONDS:
        raise ValueError(f"found {text!r}, expected at most {limits.DURATION_SECONDS / 86400:.0f} days")
    return seconds


def _checked(text: str) -> str:
    parse_duration(text)
    return text


def _written(value: Any) -> Any:
    if isinstance(value, int | float):  # the usual slip, which wants more than the name of a type
        raise ValueError(f"found {str(value).lower()}, expected a duration such as 500ms, 30s, 1h30m or 2d")  # noqa: TRY004  pydantic wants ValueError
    return value


Duration = Annotated[
    str,
    BeforeValidator(_written),
    AfterValidator(_checked),
    Field(max_length=32, json_schema_extra={"pattern": PATTERN}),
]
"""A field that holds a duration."""
