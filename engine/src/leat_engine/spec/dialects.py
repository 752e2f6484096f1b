"""Which databases a `sql` step can speak with, by the scheme of its URL, and how each reads a statement. Pure."""

from collections.abc import Callable
from enum import StrEnum

from leat_engine.spec.placeholders import Numbered, numbered
from leat_engine.spec.placeholders_mysql import marked


class Dialect(StrEnum):
    """A family of databases that read the same SQL."""

    POSTGRES = "PostgreSQL"
    MYSQL = "MySQL"


SCHEMES = {
    "postgresql": Dialect.POSTGRES,
    "postgres": Dialect.POSTGRES,
    "mysql": Dialect.MYSQL,
    "mariadb": Dialect.MYSQL,
}

_BINDERS: dict[Dialect, Callable[[str], Numbered]] = {Dialect.POSTGRES: numbered, Dialect.MYSQL: marked}


def bound(query: str, dialect: Dialect) -> Numbered:
    """The statement as the database takes it, with the names of its parameters.

    Raises:
        ValueError: It has placeholders that are not names.
    """
    return _BINDERS[dialect](query)


def dialects_of(url: str) -> list[Dialect]:
    """The dialects that a URL may lead to: all of them while an expression is still to say its scheme."""
    scheme = url.partition(":")[0].strip().lower()
    if "${" in scheme:
        return list(Dialect)
    return [SCHEMES.get(scheme, Dialect.POSTGRES)]


def readings(query: str, url: str) -> list[Numbered]:
    """The statement as each database reads it that the URL may lead to.

    Raises:
        ValueError: None of them can read it; with the reason of the first.
    """
    found, reasons = [], []
    for dialect in dialects_of(url):
        try:
            found.append(bound(query, dialect))
        except ValueError as error:
            reasons.append(error)
    if not found:
        raise reasons[0]
    return found
