"""Where a step connects to: a URL, with who connects and a password, which may stand beside it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

Query = tuple[tuple[str, str], ...]


class BadAddress(Exception):
    """The URL leads nowhere. The message names the field, never its value: it may hold a password."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a URL of one kind may be.

    Attributes:
        field: Its path in the step, for messages.
        schemes: Schemes with their usual ports.
        example: How to write it.
        query: Parameters that may stand behind ``?``. Others would read files of the runner, or weaken TLS.
    """

    field: str
    schemes: Mapping[str, int]
    example: str
    query: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Address:
    """One place and who connects there. Equal ones share a connection. As text it is safe to show."""

    scheme: str
    host: str
    port: int
    path: str
    query: Query = ()
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"


def address_of(rule: Rule, url: str, username: str | None, password: str | None) -> Address:
    """Read a URL; ``username`` and ``password`` win over those in it.

    Raises:
        BadAddress: It is none of this kind.
    """
    if "#" in url:
        raise BadAddress(f"{rule.field}: holds '#', which is written %23 in a user or a password")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        hint = "a password with / ? @ or : in it stands in `password`"
        raise BadAddress(f"{rule.field}: not a URL; write it as {rule.example}; {hint}") from error
    if parts.scheme not in rule.schemes:
        found = f"found scheme '{parts.scheme}'" if parts.scheme.isalpha() else "found no scheme"
        raise BadAddress(f"{rule.field}: {found}, expected {' or '.join(rule.schemes)}; write it as {rule.example}")
    query = _query(parts, rule)
    return Address(
        scheme=parts.scheme,
        host=_host(parts, query, rule),
        port=port or rule.schemes[parts.scheme],
        path=parts.path,
        query=query,
        username=_decoded(parts.username) if username is None else username,
        password=_decoded(parts.password) if password is None else password,
    )


def _host(parts: SplitResult, query: Query, rule: Rule) -> str:
    # A socket of the machine, which no name can lead to, stands behind `?host=`.
    if not parts.hostname and not dict(query).get("host", "").startswith("/"):
        raise BadAddress(f"{rule.field}: it names no host; write it as {rule.example}")
    return parts.hostname or ""


def _query(parts: SplitResult, rule: Rule) -> Query:
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), max_num_fields=32)
    except ValueError as error:
        raise BadAddress(f"{rule.field}: what stands behind '?' cannot be read; write it as NAME=VALUE&...") from error
    for name, _ in pairs:
        if name not in rule.query:
            known = ", ".join(sorted(rule.query)) or "none"
            raise BadAddress(f"{rule.field}: the parameter '{name[:40]}' cannot be given; there is {known}")
    return tuple(pairs)


def _decoded(text: str | None) -> str | None:
    return None if text is None else unquote(text)
