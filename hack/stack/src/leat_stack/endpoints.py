"""Where the parts of a running stack can be reached."""

import json
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Self


class Part(StrEnum):
    """What a stack can be made of."""

    POSTGRES = "postgres"
    RABBITMQ = "rabbitmq"
    KUBERNETES = "kubernetes"
    KAFKA = "kafka"
    MARIADB = "mariadb"


STANDARD = (Part.POSTGRES, Part.RABBITMQ, Part.KUBERNETES)
"""What Leat itself stands on. Others are started when they are asked for."""


@dataclass(frozen=True)
class Endpoints:
    """The addresses of one stack. Those of a part that was not started are empty."""

    postgres_dsn: str = ""
    """Database `leat`, over a unix socket."""
    amqp_url: str = ""
    amqp_management_url: str = ""
    """RabbitMQ's HTTP API, credentials included, without a trailing slash."""
    kafka_url: str = ""
    """Kafka, with the user that may do everything; no topics are made unasked."""
    kafka_tls_url: str = ""
    """The same by TLS."""
    mariadb_url: str = ""
    """MariaDB, with the user that may do everything; no database is named."""
    mariadb_certificate: str = ""
    """Path of the certificate that vouches for MariaDB's."""
    kubeconfig: str = ""
    """Path of a kubeconfig that may do everything."""
    operator_kubeconfig: str = ""
    """Path of a kubeconfig with the rights of the operator's service account and no others."""
    kubectl: str = ""
    """Path of a kubectl of the server's version."""

    @classmethod
    def load(cls, home: Path) -> Self:
        """Read what `save` wrote; a home without the file has no endpoints."""
        try:
            found = json.loads((home / "endpoints.json").read_text())
        except FileNotFoundError:
            return cls()
        return cls(**{field.name: found[field.name] for field in fields(cls) if field.name in found})

    def save(self, home: Path) -> None:
        """Write `home/endpoints.json`, readable by the owner alone: it holds passwords."""
        draft = home / "endpoints.json.new"
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n")
        draft.rename(home / "endpoints.json")

    def environment(self) -> dict[str, str]:
        """Return the variables by which Leat's processes and kubectl find this stack."""
        found = {
            "LEAT_DATABASE_URL": self.postgres_dsn,
            "LEAT_AMQP_URL": self.amqp_url,
            "LEAT_AMQP_MANAGEMENT_URL": self.amqp_management_url,
            "KUBECONFIG": self.kubeconfig,
        }
        return {name: value for name, value in found.items() if value}
