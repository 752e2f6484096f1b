"""Kafka of one stack: one node in KRaft mode, its own ports, its own data. Clients log in, in clear text or by TLS."""

import json
import logging
import os
import secrets
import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode
from dataclasses import asdict, dataclass
from pathlib import Path

from leat_stack.certificates import loopback_certificate
from leat_stack.daemons import Daemons, Program, free_ports
from leat_stack.endpoints import Endpoints, Part
from leat_stack.errors import StackError
from leat_stack.kafka_source import Server, locate

log = logging.getLogger(__name__)

_START_SECONDS = 90.0


@dataclass(frozen=True)
class Broker:
    """What a broker keeps over its restarts: who may enter, and where."""

    password: str
    port: int
    tls_port: int
    internal_port: int
    controller_port: int

    @property
    def url(self) -> str:
        """SASL in clear text."""
        return f"kafka://leat:{self.password}@127.0.0.1:{self.port}"

    def tls_url(self, home: Path) -> str:
        """SASL over TLS, with the certificate that vouches for the broker's."""
        return f"kafkas://leat:{self.password}@127.0.0.1:{self.tls_port}?cafile={home / 'kafka' / 'ca.pem'}"


def start(home: Path, daemons: Daemons) -> Endpoints:
    """Start the broker, or find it running, and return its addresses when it answers."""
    root = home / "kafka"
    try:
        broker = Broker(**json.loads((root / "broker.json").read_text()))
    except FileNotFoundError:
        broker = None
    if broker is None or daemons.find(Part.KAFKA) is None:
        server = locate(os.environ)
        log.info("starting Kafka")
        if broker is None:
            broker = _made(root, server)
        settings = str(root / "server.properties")
        daemons.start(Program(Part.KAFKA, server.command("kafka.Kafka", settings), _quiet(root)))
    daemons.wait_until(lambda: _answers(broker), Part.KAFKA, _START_SECONDS)
    return Endpoints(kafka_url=broker.url, kafka_tls_url=broker.tls_url(home))


def _made(root: Path, server: Server) -> Broker:
    """Make the data folder of a new broker, with its one user."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)  # it holds the password
    broker = Broker(secrets.token_urlsafe(16), *free_ports(4))
    key, certificate = loopback_certificate(root)
    (root / "server.properties").write_text(_properties(root, broker, key, certificate))
    (root / "log4j2.yaml").write_text(_LOGGING)
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    scram = [f"--add-scram=SCRAM-SHA-{bits}=[name=leat,password={broker.password}]" for bits in (256, 512)]
    settings = str(root / "server.properties")
    command = server.command("kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", settings, *scram)
    env = {**os.environ, **_quiet(root)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    if done.returncode != 0:
        raise StackError(f"Kafka could not make its data folder: {(done.stdout + done.stderr).strip()[-1000:]}")
    (root / "broker.json").write_text(json.dumps(asdict(broker)))  # last: without it everything is made anew
    return broker


def _quiet(root: Path) -> dict[str, str]:
    return {"LOG4J_CONFIGURATION_FILE": str(root / "log4j2.yaml")}


def _properties(root: Path, broker: Broker, key: str, certificate: str) -> str:
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    listeners = {
        "INTERNAL": ("PLAINTEXT", broker.internal_port),
        "CLIENTS": ("SASL_PLAINTEXT", broker.port),
        "SECURE": ("SASL_SSL", broker.tls_port),
        "CONTROLLER": ("PLAINTEXT", broker.controller_port),
    }
    addresses = {name: f"{name}://127.0.0.1:{port}" for name, (_, port) in listeners.items()}
    advertised = [address for name, address in addresses.items() if name != "CONTROLLER"]
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{broker.controller_port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "INTERNAL",
        "listeners": ",".join(addresses.values()),
        "advertised.listeners": ",".join(advertised),
        "listener.security.protocol.map": ",".join(f"{name}:{how}" for name, (how, _) in listeners.items()),
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.key": _one_line(key),
        "ssl.keystore.certificate.chain": _one_line(certificate),
        "log.dirs": str(root / "data"),
        "auto.create.topics.enable": "false",  # a topic that is not there is a mistake, and tests look at mistakes
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "2",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
    }
    for listener in ("clients", "secure"):
        prefix = f"listener.name.{listener}"
        settings[f"{prefix}.plain.sasl.jaas.config"] = f'{plain} user_leat="{broker.password}";'
        settings[f"{prefix}.scram-sha-256.sasl.jaas.config"] = scram
        settings[f"{prefix}.scram-sha-512.sasl.jaas.config"] = scram
    return "".join(f"{name}={value}\n" for name, value in settings.items())


_LOGGING = """\
Configuration:
  Appenders:
    Console:
      name: STDOUT
      PatternLayout:
        pattern: "%d %p %m (%c)%n"
  Loggers:
    Root:
      level: WARN
      AppenderRef:
        - ref: STDOUT
"""


def _one_line(pem: str) -> str:
    return pem.strip().replace("\n", "\\n")  # as a .properties file has a line's end


def _answers(broker: Broker) -> bool:
    """Whether the listener for clients is open, which is the last thing that a broker does when it starts."""
    try:
        socket.create_connection(("127.0.0.1", broker.port), timeout=5).close()
    except OSError:
        return False
    return True
