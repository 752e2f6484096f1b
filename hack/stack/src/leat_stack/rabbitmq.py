"""RabbitMQ of one stack: own node, own ports, own data; a broker that runs on this machine already is not touched."""

import base64
import hashlib
import http.client
import json
import logging
import os
import secrets
import socket
import subprocess
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from leat_stack.daemons import Daemons, Program, free_ports
from leat_stack.endpoints import Endpoints, Part
from leat_stack.errors import StackError
from leat_stack.rabbitmq_source import Given, Image, Server, locate

log = logging.getLogger(__name__)

_START_SECONDS = 90.0

NO_BUSY_WAIT = "+sbwt none +sbwtdcpu none +sbwtdio none"


@dataclass(frozen=True)
class Broker:
    """What a broker keeps over its restarts: who may enter, and where."""

    password: str
    amqp_port: int
    management_port: int
    epmd_port: int
    distribution_port: int

    @property
    def amqp_url(self) -> str:
        """AMQP, default virtual host."""
        return f"amqp://leat:{self.password}@127.0.0.1:{self.amqp_port}/"

    @property
    def management_url(self) -> str:
        """The HTTP API."""
        return f"http://leat:{self.password}@127.0.0.1:{self.management_port}"


def start(home: Path, daemons: Daemons) -> Endpoints:
    """Start the broker, or find it running, and return its two addresses when both answer."""
    broker = _broker(home)
    if broker is not None and _serves(broker):
        return Endpoints(amqp_url=broker.amqp_url, amqp_management_url=broker.management_url)
    source = locate(os.environ)
    if isinstance(source, Given):
        return _given(source)
    broker = broker or _new_broker(home)
    log.info("starting RabbitMQ (%s)", source.path if isinstance(source, Server) else source.name)
    if isinstance(source, Server):
        program = server_program(home, broker, source)
        daemons.start(program)
    else:
        program = Program(Part.RABBITMQ, ["docker", "start", "--attach", container_name(home)])
        _create_container(home, broker, source)
        daemons.start(program)
    daemons.wait_until(lambda: _serves(broker), program.name, _START_SECONDS)
    return Endpoints(amqp_url=broker.amqp_url, amqp_management_url=broker.management_url)


def remove_container(home: Path) -> None:
    """Remove the container of this home with its data, if Docker ran the broker."""
    if (home / "rabbitmq" / "container").exists():
        subprocess.run(["docker", "rm", "--force", "--volumes", container_name(home)], check=True, capture_output=True)


def server_program(home: Path, broker: Broker, server: Server) -> Program:
    """Write the server's configuration and return how to start it. The same for 3.10 and 4.x."""
    root = home / "rabbitmq"
    (root / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{broker.amqp_port}\n"
        "management.tcp.ip = 127.0.0.1\n"
        f"management.tcp.port = {broker.management_port}\n"
        "default_user = leat\n"
        f"default_pass = {broker.password}\n"
        "collect_statistics_interval = 1000\n"  # as KEDA's http trigger and the tests read it
        "log.file = false\n"
        "log.console = true\n"
        "log.console.level = warning\n"
    )
    (root / "enabled_plugins").write_text("[rabbitmq_management].\n")
    (root / "env.conf").touch()  # in place of the machine's /etc/rabbitmq/rabbitmq-env.conf
    loopback = "{127,0,0,1}"
    env = {
        "HOME": str(root),  # the Erlang cookie lies there
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(broker.epmd_port),
        "RABBITMQ_DIST_PORT": str(broker.distribution_port),
        "RABBITMQ_NODENAME": "leat@localhost",
        # Without these, idle schedulers spin for a while: on a machine that others share, that is their time.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-kernel inet_dist_use_interface {loopback} {NO_BUSY_WAIT}",
        "RABBITMQ_CONF_ENV_FILE": str(root / "env.conf"),
        "RABBITMQ_CONFIG_FILE": str(root / "rabbitmq.conf"),
        "RABBITMQ_CONFIG_FILES": str(root / "conf.d"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(root / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(root / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(root / "data"),
        "RABBITMQ_LOG_BASE": str(root / "log"),
        "RABBITMQ_PID_FILE": str(root / "rabbitmq.pid"),
    }
    return Program(Part.RABBITMQ, [str(server.path)], env)


def create_container_command(home: Path, broker: Broker, image: Image) -> list[str]:
    """Return the command that makes the container: ports on loopback, data in a volume that goes with it."""
    return [
        "docker", "create", "--name", container_name(home), "--hostname", "leat",
        "--publish", f"127.0.0.1:{broker.amqp_port}:5672",
        "--publish", f"127.0.0.1:{broker.management_port}:15672",
        "--env", "RABBITMQ_DEFAULT_USER=leat", "--env", f"RABBITMQ_DEFAULT_PASS={broker.password}",
        image.name,
    ]  # fmt: skip


def container_name(home: Path) -> str:
    """Return a container name that no other home has."""
    return f"leat-{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}"


def _create_container(home: Path, broker: Broker, image: Image) -> None:
    made = home / "rabbitmq" / "container"
    if made.exists():
        return
    done = subprocess.run(create_container_command(home, broker, image), check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise StackError(f"docker could not make the broker from {image.name}: {done.stderr.strip()[-1000:]}")
    made.write_text(done.stdout)


def _given(source: Given) -> Endpoints:
    url = urlsplit(source.amqp_url)
    credentials = url.netloc.rpartition("@")[0] or "guest:guest"
    management = os.environ.get("LEAT_AMQP_MANAGEMENT_URL") or f"http://{credentials}@{url.hostname}:15672"
    if not _answers(management):
        raise StackError(
            f"LEAT_AMQP_URL names a broker on {url.hostname}, but its management API does not answer at "
            f"{urlsplit(management).hostname}:{urlsplit(management).port}: set LEAT_AMQP_MANAGEMENT_URL, "
            "or unset LEAT_AMQP_URL to get a broker of this stack's own"
        )
    return Endpoints(amqp_url=source.amqp_url, amqp_management_url=management.rstrip("/"))


def _broker(home: Path) -> Broker | None:
    try:
        return Broker(**json.loads((home / "rabbitmq" / "broker.json").read_text()))
    except FileNotFoundError:
        return None


def _new_broker(home: Path) -> Broker:
    broker = Broker(secrets.token_urlsafe(16), *free_ports(4))
    (home / "rabbitmq").mkdir(parents=True, exist_ok=True, mode=0o700)  # it holds the password
    (home / "rabbitmq" / "broker.json").write_text(json.dumps(asdict(broker)))
    return broker


def _serves(broker: Broker) -> bool:
    """Whether both listeners answer: which of them is first depends on RabbitMQ's version."""
    try:
        socket.create_connection(("127.0.0.1", broker.amqp_port), timeout=5).close()
    except OSError:
        return False
    return _answers(broker.management_url)


def _answers(management_url: str) -> bool:
    """Whether the management API takes the URL's credentials."""
    url = urlsplit(management_url)
    secure = url.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = connect(url.hostname or "", url.port, timeout=5)
    token = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
    try:
        connection.request("GET", "/api/whoami", headers={"Authorization": f"Basic {token}"})
        return connection.getresponse().status == HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()
