"""Between JSON and the types of MySQL and MariaDB: parameters on their way in, rows on their way out. Pure.

These servers do not say of which type a parameter is. A text goes as a text, and they read it as a date or a decimal
where the column is one.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from pymysql.constants import FIELD_TYPE

from leat_runner.kinds.sql_values import BadValue

INTEGERS = range(-(2**63), 2**64)
"""Of a parameter: those of BIGINT and of BIGINT UNSIGNED."""

_LARGEST = 2**63 - 1
"""Of a column: whole numbers of expressions end here."""


def literal(value: Any) -> str:
    """A JSON value as a literal in ASCII that no mode and no character set of a session reads in another way.

    Raises:
        BadValue: It has none.
    """
    match value:
        case None:
            return "NULL"
        case bool():
            return str(int(value))
        case float() if not value.is_integer() or abs(value) > 2**53:
            return f"{value!r}" if "e" in repr(value) else f"{value!r}e0"  # without an exponent it is a decimal
        case int() | float():  # JSON does not tell 10 from 10.0
            if int(value) not in INTEGERS:
                raise BadValue("found a whole number beyond 64 bits; give it as a text, and cast it in the statement")
            return str(int(value))
        case str():
            return text(value)
        case _:
            return text(orjson.dumps(value).decode())


def text(value: str) -> str:
    """A text as the hexadecimal digits of its UTF-8: nothing is left that could be read as anything else.

    Raises:
        BadValue: It is half of a surrogate pair.
    """
    try:
        return f"_utf8mb4 X'{value.encode().hex()}'"
    except UnicodeEncodeError as error:
        raise BadValue("found a text that is not Unicode") from error


def row(names: Sequence[str], values: Sequence[str | bytes | None], types: Sequence[int]) -> dict[str, Any]:
    """One row as a JSON object. ``values`` are as the server writes them, ``types`` the numbers of its protocol.

    Raises:
        BadValue: A column has no form in JSON; the message names it.
    """
    return {name: _column(name, value, of) for name, value, of in zip(names, values, types, strict=True)}


def _column(name: str, value: str | bytes | None, of: int) -> Any:
    if value is None:
        return None
    if of == FIELD_TYPE.GEOMETRY:
        raise BadValue(f"column '{name}' is of a spatial type, which has no form in JSON; give ST_AsGeoJSON({name})")
    if of == FIELD_TYPE.BIT:
        value = str(int.from_bytes(value if isinstance(value, bytes) else value.encode("latin-1")))
        of = FIELD_TYPE.LONGLONG
    if isinstance(value, bytes):
        return b64encode(value).decode()
    read = _READERS.get(of, str)(value)
    if isinstance(read, int) and read > _LARGEST:
        raise BadValue(f"column '{name}' holds a whole number beyond 63 bits; give cast({name} as char)")
    return read


def _local(value: str) -> str:
    return value.replace(" ", "T", 1)


def _instant(value: str) -> str:
    return f"{_local(value)}+00:00"  # the session's time zone is UTC


_READERS: Mapping[int, Callable[[str], Any]] = {
    FIELD_TYPE.TINY: int,
    FIELD_TYPE.SHORT: int,
    FIELD_TYPE.LONG: int,
    FIELD_TYPE.LONGLONG: int,
    FIELD_TYPE.INT24: int,
    FIELD_TYPE.YEAR: int,
    FIELD_TYPE.FLOAT: float,
    FIELD_TYPE.DOUBLE: float,
    FIELD_TYPE.DATETIME: _local,
    FIELD_TYPE.TIMESTAMP: _instant,
    FIELD_TYPE.JSON: orjson.loads,
}
