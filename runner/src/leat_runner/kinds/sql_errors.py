"""What a database refuses, as the error of a step. Pure: SQLSTATEs decide (PostgreSQL's manual, appendix A)."""

from collections.abc import Mapping

from leat_engine.result import ErrorType, StepError
from leat_runner.kinds.address import Address

CANCELED = "57014"
CREDENTIALS = "28"
GONE = ("08", "57P0")
"""The connection was lost, or the server stops or starts."""

RETRIABLE = ("40", "53", "55P03")
"""Serialization failures and deadlocks, a server short of something, a lock that was not to be had."""


def refused(address: Address, *, code: str, reason: str, message: str, told: Mapping[str, str]) -> StepError:
    """The error of an answer with an SQLSTATE. ``told`` names what the server does: constraint, table, column."""
    if code.startswith(GONE):
        return lost(address, message, reason, retriable=True)
    if code.startswith(CREDENTIALS):
        return lost(address, message, "NotLoggedIn", retriable=False)
    details = {"sqlState": code, **told}
    if code == CANCELED:
        return StepError(ErrorType.TIMEOUT, f"{address} cancelled the statement: {message}", details=details)
    retriable = code.startswith(RETRIABLE)
    return StepError(ErrorType.SQL, f"{address}: {message}", reason=reason, retriable=retriable, details=details)


def lost(address: Address, cause: str, reason: str, *, retriable: bool) -> StepError:
    """The error of a database that does not answer."""
    text = f"{address} did not answer: {cause}"
    return StepError(ErrorType.CONNECTION, text, reason=reason, retriable=retriable)
