"""Results for programs, on stdout."""

import json
import sys
from enum import StrEnum
from typing import Any


class Format(StrEnum):
    """Forms of a result that programs read."""

    JSON = "json"
    YAML = "yaml"


def dump(value: Any, form: Format) -> str:
    """Return the text of a JSON value, with a newline at its end."""
    if form is Format.JSON:
        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False)


def print_value(value: Any, form: Format) -> None:
    """Write a JSON value to stdout."""
    sys.stdout.write(dump(value, form))
    sys.stdout.flush()
