"""What MySQL and MariaDB refuse, as the error of a step. Pure: their numbers decide, as most share one SQLSTATE.

Reasons have the names that they have on PostgreSQL where both know the case, so that one `retry.when` fits both.
"""

import re
from dataclasses import replace

from pymysql.constants import ER

from leat_engine.result import ErrorType, StepError
from leat_runner.kinds.address import Address
from leat_runner.kinds.sql_errors import lost, refused

GONE = frozenset({1053, 1927, 3169, 4031})
"""The server stops, or it ended the session."""

CREDENTIALS = frozenset({1045, 1251, 1698, 1862})

CANCELED = frozenset({1317, 1969, 3024})
"""Killed, or over the time that it had: MariaDB's and MySQL's numbers."""

RETRIABLE = frozenset({1020, 1021, 1037, 1041, 1203, 1205, 1206, 1213, 1226, 3572})
"""Deadlocks, locks that were not to be had, rows that changed meanwhile, a server short of something."""

REASONS = {
    1020: "Serialization",
    1044: "InsufficientPrivilege",
    1048: "NotNullViolation",
    1049: "InvalidCatalogName",
    1050: "DuplicateTable",
    1054: "UndefinedColumn",
    1062: "UniqueViolation",
    1064: "Syntax",
    1142: "InsufficientPrivilege",
    1143: "InsufficientPrivilege",
    1146: "UndefinedTable",
    1205: "LockNotAvailable",
    1213: "DeadlockDetected",
    1216: "ForeignKeyViolation",
    1217: "ForeignKeyViolation",
    1264: "NumericValueOutOfRange",
    1290: "ReadOnlySQLTransaction",
    1305: "UndefinedFunction",
    1364: "NotNullViolation",
    1365: "DivisionByZero",
    1406: "StringDataRightTruncation",
    1451: "ForeignKeyViolation",
    1452: "ForeignKeyViolation",
    1690: "NumericValueOutOfRange",
    1792: "ReadOnlySQLTransaction",
    1836: "ReadOnlySQLTransaction",
    3572: "LockNotAvailable",
    3819: "CheckViolation",
    4025: "CheckViolation",
}

_NAMES = {number: name for name, number in vars(ER).items() if isinstance(number, int)}

_SPOKEN = frozenset({1044, 1045, 1048, 1264, 1364, 1406, 1451, 1452, 1644, 1792, 3819, 4025})
"""Errors whose messages quote names and no values."""

_VALUED = frozenset({1139, 1231})
"""Of those about the statement itself, the class 42, the ones that quote values."""

_PLACE = re.compile(r" for (?:key|column) (?:'[^']*'|`[^`]*`(?:\.`[^`]*`)*)(?: at row \d+)?$")

_CONSTRAINTS = {
    1062: re.compile(r"for key '(?:[^'.]+\.)?([^']+)'$"),  # MySQL puts the table before it
    1451: re.compile(r"CONSTRAINT `([^`]+)`"),
    1452: re.compile(r"CONSTRAINT `([^`]+)`"),
    3819: re.compile(r"Check constraint '([^']+)'"),
    4025: re.compile(r"CONSTRAINT `([^`]+)`"),
}
"""Where a message names the constraint. Only there: elsewhere in it a row may be quoted."""


def error_of(address: Address, number: int, state: str, message: str) -> StepError:
    """The error of an answer with a number, an SQLSTATE and a message."""
    said = _without_values(number, state, message)
    if number in GONE:
        return lost(address, said, reason_of(number), retriable=True)
    if number in CREDENTIALS:
        return lost(address, said, "NotLoggedIn", retriable=False)
    details = {"sqlState": state, "code": number}
    if number in CANCELED:
        return StepError(ErrorType.TIMEOUT, f"{address} cancelled the statement: {said}", details=details)
    found = number in _CONSTRAINTS and _CONSTRAINTS[number].search(message)
    told = {"constraint": found[1]} if found else {}
    error = refused(address, code=state, reason=reason_of(number), message=said, told=told)
    if error.type is not ErrorType.SQL:
        return error
    retriable = error.retriable or number in RETRIABLE
    return replace(error, retriable=retriable, details={**error.details, "code": number})


def reason_of(number: int) -> str:
    """The name of an error, such as ``UniqueViolation``; of one that has none its number."""
    known = _NAMES.get(number, f"ERROR_{number}")
    return REASONS.get(number) or "".join(part.capitalize() for part in known.split("_"))


def _without_values(number: int, state: str, message: str) -> str:
    """The message without what it quotes of rows and parameters: they may be secrets."""
    if number in _SPOKEN or (state.startswith("42") and number not in _VALUED):
        return message
    head = re.split(r"['\"`:(]", message, maxsplit=1)[0].rstrip()
    place = _PLACE.search(message)
    return head if place is None or place.start() < len(head) else head + place[0]
