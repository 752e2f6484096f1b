"""URLs of fields, as far as a workflow says them before it is run. Pure."""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationInfo

WRITTEN: Mapping[str, Any] = {"written": True}
"""Context of the validation of fields as they are written. A kind itself looks at what they give in a run."""


def is_written(info: ValidationInfo) -> bool:
    """Whether a field is looked at as it is written."""
    return info.context is WRITTEN


def check_scheme(url: str, schemes: Collection[str], example: str) -> str:
    """A URL of one of these schemes, or one of which an expression is still to say which.

    Raises:
        ValueError: It has another scheme. The text holds no more of the URL: that may be a password.
    """
    scheme, colon, _ = url.partition(":")
    if "${" in scheme or (colon and scheme.strip().lower() in schemes):
        return url
    found = f"found scheme '{scheme}'" if colon and scheme.isalpha() else "found no scheme"
    raise ValueError(f"{found}, expected {' or '.join(schemes)}; write it as {example}")
