"""To be written: CEL behind `${ }`."""

from typing import Any


class Template: ...
