"""Between JSON and the types of PostgreSQL: parameters on their way in, rows on their way out. Pure.

The server says of which type each parameter is, and the value is read as that: a text as a date where a date is due. So
no value is cast in the statement, and none can be read as something else than what it is.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import orjson

from leat_engine.spec import parse_duration

INTEGERS = frozenset({"int2", "int4", "int8", "oid"})
TEXTS = frozenset({"text", "varchar", "bpchar", "name", "citext", "unknown", "xml"})
JSON = frozenset({"json", "jsonb"})


class BadValue(Exception):
    """A value is not of its type. The message says what was expected, never the value: it may be a secret."""


def parameter(value: Any, type_name: str) -> Any:
    """What the client takes for a JSON value where the server expects a type; ``TYPE[]`` is a list of it.

    Raises:
        BadValue: It is none of that type.
    """
    if type_name in JSON:
        return None if value is None else orjson.dumps(value).decode()
    if value is None:
        return None
    if type_name.endswith("[]"):
        if not isinstance(value, list):
            raise BadValue(f"found {_kind(value)}, expected a list of {type_name[:-2]}")
        return [parameter(item, type_name[:-2]) for item in value]
    if type_name in INTEGERS:
        return _integer(value, type_name)
    if type_name in TEXTS:
        return value if isinstance(value, str) else orjson.dumps(value).decode()
    reader = _READERS.get(type_name)
    if reader is None:
        return value
    try:
        return reader(value)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise BadValue(f"found {_kind(value)}, expected {_EXPECTED[type_name]}") from error


def row(record: Mapping[str, Any], types: Sequence[str]) -> dict[str, Any]:
    """One row as a JSON object, its columns of these types.

    Raises:
        BadValue: A column has no form in JSON; the message names it.
    """
    return {name: _column(name, value, of) for (name, value), of in zip(record.items(), types, strict=True)}


def _column(name: str, value: Any, type_name: str) -> Any:
    try:
        return _shown(value, type_name)
    except TypeError as error:
        raise BadValue(
            f"column '{name}' is of type {type_name}, which has no form in JSON; cast it in the statement, as in "
            f"{name}::text"
        ) from error


def _shown(value: Any, type_name: str) -> Any:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return orjson.loads(value) if type_name.removesuffix("[]") in JSON else value
        case list():
            return [_shown(item, type_name) for item in value]
        case Decimal():
            return str(value)  # a number of JSON would lose digits
        case bytes():
            return b64encode(value).decode()
        case timedelta():
            return value.total_seconds()
        case datetime() | date() | time():
            return value.isoformat()
        case _ if type_name.removesuffix("[]") in _AS_TEXT:
            return str(value)
        case _:
            raise TypeError(type(value).__name__)


def _integer(value: Any, type_name: str) -> int:
    # JSON does not tell 10 from 10.0.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise BadValue(f"found {_kind(value)}, expected a whole number for {type_name}")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    return Decimal(str(value))


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _aware(value: Any) -> datetime:
    at = datetime.fromisoformat(value)
    if at.tzinfo is None:
        raise ValueError
    return at


def _naive(value: Any) -> datetime:
    at = datetime.fromisoformat(value)
    if at.tzinfo is not None:
        raise ValueError
    return at


def _interval(value: Any) -> timedelta:
    return timedelta(seconds=parse_duration(value) if isinstance(value, str) else _number(value))


def _bytes(value: Any) -> bytes:
    return b64decode(value, validate=True)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "bool": _boolean,
    "float4": _number,
    "float8": _number,
    "numeric": _decimal,
    "date": date.fromisoformat,
    "timestamp": _naive,
    "timestamptz": _aware,
    "time": time.fromisoformat,
    "timetz": time.fromisoformat,
    "interval": _interval,
    "bytea": _bytes,
    "uuid": _text,
    "inet": _text,
    "cidr": _text,
}
_EXPECTED: Mapping[str, str] = {
    "bool": "true or false",
    "float4": "a number",
    "float8": "a number",
    "numeric": "a number, or one in text so that no digit is lost",
    "date": "a date such as 2030-01-31",
    "timestamp": "a time without a zone, such as 2030-01-31T12:00:00",
    "timestamptz": "a time with its zone, such as 2030-01-31T12:00:00Z",
    "time": "a time of day such as 12:00:00",
    "timetz": "a time of day such as 12:00:00+01:00",
    "interval": "a duration such as 1h30m, or seconds",
    "bytea": "bytes in base64",
    "uuid": "a UUID",
    "inet": "an address such as 192.0.2.7",
    "cidr": "a network such as 192.0.2.0/24",
}
_AS_TEXT = frozenset({"uuid", "inet", "cidr", "macaddr", "macaddr8"})


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "an object"
