"""Where a Kafka cluster is: its URL, which names more than one host, with who connects and how. Pure."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

PORT = 9092
EXAMPLE = "kafkas://HOST:9092,HOST:9092"
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
MECHANISM = "mechanism"
CAFILE = "cafile"

_SERVER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>\d{1,5}))?")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_PORTS = 65536


@dataclass(frozen=True, slots=True)
class Brokers:
    """Where a cluster is, and who connects. Equal ones share a connection. As text it is safe to show.

    Attributes:
        servers: Each as HOST:PORT. Any of them knows all the others.
        mechanism: Of SASL; None when nobody logs in.
        cafile: The file of the certificates that vouch for theirs, instead of the system's.
    """

    servers: tuple[str, ...]
    tls: bool
    mechanism: str | None = None
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    cafile: str | None = None

    def __str__(self) -> str:
        return f"{'kafkas' if self.tls else 'kafka'}://{','.join(self.servers)}"


def brokers_of(
    url: str, username: str | None = None, password: str | None = None, *, parameters: Collection[str] = (MECHANISM,)
) -> Brokers:
    """Read a URL; ``username`` and ``password`` win over those in it.

    Args:
        url: `kafka://USER:PASSWORD@HOST:PORT,HOST:PORT?mechanism=PLAIN`; `kafkas://` for TLS.
        username: Who logs in.
        password: With which password.
        parameters: What may stand behind `?`.

    Raises:
        ValueError: It is none. The text never holds a value: that may be a password.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in {"kafka", "kafkas"} or not rest:
        raise ValueError(f"expected a URL such as {EXAMPLE}, or kafka:// in clear text")
    if "#" in url:
        raise ValueError("holds '#', which is written %23 in a user or a password")
    place, _, query = rest.partition("?")
    if "@" in query:
        raise ValueError("holds '?' before '@'; it is written %3F in a user or a password")
    given = _parameters(query, parameters)
    credentials, _, hosts = place.rpartition("@")
    user, _, word = credentials.partition(":")
    username = (unquote(user) or None) if username is None else username
    password = (unquote(word) or None) if password is None else password
    if (username is None) != (password is None):
        raise ValueError("expected a user and a password, or neither")
    mechanism = given.get(MECHANISM, MECHANISMS[0])
    if mechanism not in MECHANISMS:
        raise ValueError(f"expected `{MECHANISM}` to be one of {', '.join(MECHANISMS)}")
    return Brokers(
        servers=_servers(hosts),
        tls=scheme == "kafkas",
        mechanism=None if username is None else mechanism,
        username=username,
        password=password,
        cafile=given.get(CAFILE),
    )


def check_topic(topic: str) -> str:
    """The name of a topic.

    Raises:
        ValueError: Kafka takes no topic of that name.
    """
    if not _TOPIC.fullmatch(topic) or topic in {".", ".."}:
        raise ValueError("expected letters, digits, `.`, `_` and `-`, at most 249")
    return topic


def _servers(hosts: str) -> tuple[str, ...]:
    found = [_SERVER.fullmatch(host) for host in hosts.rstrip("/").split(",")]
    servers = tuple(f"{each['host']}:{each['port'] or PORT}" for each in found if each is not None)
    if len(servers) < len(found) or any(not 0 < int(server.rpartition(":")[2]) < _PORTS for server in servers):
        raise ValueError(
            f"names a host that is none; write it as {EXAMPLE}, with %2F for / and the like in a user or a password"
        )
    return servers


def _parameters(query: str, known: Collection[str]) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=32)
    except ValueError as error:
        raise ValueError("what stands behind '?' cannot be read; write it as NAME=VALUE&...") from error
    for name, _ in pairs:
        if name not in known:  # others would name files of ours, or weaken TLS
            raise ValueError(f"the parameter '{name[:40]}' cannot be given; there is {', '.join(sorted(known))}")
    return dict(pairs)
