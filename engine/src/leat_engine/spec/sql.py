"""The fields of the `sql` kind."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from leat_engine import limits
from leat_engine.spec.dialects import SCHEMES, readings
from leat_engine.spec.kinds import Outward, Verbatim
from leat_engine.spec.model import Model
from leat_engine.spec.places import check_scheme, is_written
from leat_engine.spelling import unknown

IDEMPOTENCY_KEY = "idempotencyKey"
"""The parameter that every statement has without being given it."""

ROWS = 100_000
"""Rows that a statement may give at most, whatever the step says."""


class Sql(Model):
    """Executes one statement in a transaction of its own, on PostgreSQL, MySQL, MariaDB, or what speaks as they do.

    The output is `{rows, rowCount}`: a list of objects by column, and the number of rows given or changed. In the
    statement `:name` stands for a value of `parameters`, and `:idempotencyKey` for the key of the step, the same for
    all its attempts. More, with types and errors: docs/how-to/databases-brokers-mail.md.
    """

    url: Annotated[str, Outward(), Field(min_length=1, max_length=8192)]
    """The database: `postgresql://HOST:5432/NAME`, `mysql://HOST:3306/NAME` or `mariadb://HOST:3306/NAME`, with
    `?sslmode=verify-full` where the way is not yours."""
    username: Annotated[str | None, Outward()] = None
    """Who connects, instead of the URL's user."""
    password: Annotated[str | None, Outward()] = None
    """The password, instead of the URL's; here its characters need no escaping."""
    query: Annotated[str, Verbatim(), Field(min_length=1, max_length=64 * limits.KIB)]
    """One statement. It holds no expressions: values reach it by `parameters` alone, so that no value is ever read as
    SQL."""
    parameters: Annotated[dict[str, Any], Outward()] = Field(
        default_factory=dict, max_length=1000, validate_default=True
    )
    """Values by name, bound to `:name` in the statement."""
    read_only: bool = False
    """Whether the transaction may only read."""
    isolation: Literal["readCommitted", "repeatableRead", "serializable"] = "readCommitted"
    """Isolation of the transaction. A serialization failure is retriable."""
    max_rows: Annotated[int, Field(ge=1, le=ROWS)] = 1000
    """The most rows that are taken; a statement that gives more is rolled back, and the attempt fails with
    `TooLarge`."""

    @field_validator("url")
    @classmethod
    def _leads_to_a_database(cls, url: str, info: ValidationInfo) -> str:
        return check_scheme(url, SCHEMES, "postgresql://HOST/NAME or mysql://HOST/NAME") if is_written(info) else url

    @field_validator("query")
    @classmethod
    def _holds_no_expression(cls, query: str, info: ValidationInfo) -> str:
        if "${" in query:
            raise ValueError(
                "found `${`: a statement holds no expressions, as a value must never be read as SQL; "
                "write :name here and `parameters: {name: ${ ... }}`"
            )
        readings(query, info.data.get("url", ""))
        return query

    @field_validator("parameters")
    @classmethod
    def _are_those_of_the_query(cls, parameters: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if IDEMPOTENCY_KEY in parameters:
            raise ValueError(f"`{IDEMPOTENCY_KEY}` is the key of the step and cannot be given; take another name")
        query = info.data.get("query")
        if query is None:  # it has a reason of its own
            return parameters
        reasons = [_misfit(read.names, parameters) for read in readings(query, info.data.get("url", ""))]
        if all(reasons):  # while the URL does not say which database it is, it is one where they fit
            raise ValueError(reasons[0])
        return parameters


def _misfit(named: tuple[str, ...], parameters: dict[str, Any]) -> str | None:
    """Why these parameters are not those of the statement, if they are not."""
    for name in named:
        if name not in parameters and name != IDEMPOTENCY_KEY:
            return f"`query` reads :{name}, and {unknown('parameter', name, [*parameters, IDEMPOTENCY_KEY])}"
    if unread := [name for name in parameters if name not in named]:
        return f"`query` does not read {', '.join(f':{name}' for name in unread)}"
    return None
