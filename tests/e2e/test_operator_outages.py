"""Postgres, RabbitMQ or the API server is killed in a stream of runs under an operator. Afterwards it is counted."""

import secrets
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.cluster import Orders
from tests.support.fleet import a_fleet, ready
from tests.support.operator import Process, eventually, shop, started
from tests.support.stack import fresh_namespace

from leat_stack import Part, up
from leat_stack.stack import stop

WAVE = 20


@dataclass
class Scene:
    """A whole Leat, and the stack that it stands on."""

    home: Path
    operator: Process
    orders: Orders

    def wave(self) -> None:
        """Runs, every fifth of which goes on for seconds."""
        names = [f"run-{secrets.token_hex(4)}" for _ in range(WAVE)]
        self.orders.place(names[::5], "slow")
        self.orders.place([name for name in names if name not in names[::5]], "quick")

    def kill(self, part: Part) -> None:
        stop(self.home, [part], kill=True)

    def mend(self, part: Part) -> None:
        up(self.home, [part])

    def begins(self) -> None:
        """Wait until the operator is the active one."""
        active = "leat_operator_active"
        eventually(lambda: self.operator.ready and self.operator.metric(active) == 1, "it is active", 40)

    def notices(self, event: str) -> None:
        """Wait until the operator has logged it."""
        eventually(lambda: f'"event":"{event}"' in self.operator.log.read_text(), f"the operator logs {event!r}")

    def settles(self) -> None:
        """Nothing is lost or doubled, and nobody has ended."""
        account = self.orders.settle(60)
        assert account.clean, account
        assert self.operator.ready
        assert all(runner.alive for runner in self.orders.fleet.runners)


@pytest.fixture
def orders(site, tmp_path):
    endpoints = up(site)
    with (
        fresh_namespace(endpoints) as namespace,
        shop(endpoints.kubeconfig, namespace) as user,
        a_fleet(endpoints.postgres_dsn, endpoints.amqp_url, tmp_path) as fleet,
    ):
        orders = Orders(user, fleet, endpoints.postgres_dsn)
        orders.offer("quick")
        orders.offer("slow", seconds=2.5)
        ready(fleet.start(namespace="leat-system"))
        yield orders


@pytest.fixture
def environment(site, orders):
    endpoints = up(site)
    return {
        "KUBECONFIG": endpoints.operator_kubeconfig,  # with its own rights: an API server that starts learns them
        "LEAT_DATABASE_URL": endpoints.postgres_dsn,
        "LEAT_AMQP_URL": endpoints.amqp_url,
        "LEAT_NAMESPACE": "leat-system",
        "LEAT_WATCH_NAMESPACES": orders.user.namespace,
        "LEAT_SWEEP_INTERVAL": "1",
    }


@pytest.fixture
def scene(site, orders, environment, tmp_path):
    with started("leat_operator", environment, tmp_path) as operator:
        scene = Scene(site, operator, orders)
        scene.begins()
        yield scene
        operator.end()  # it gives the Lease to the next test's


def test_postgres_is_killed(scene):
    scene.wave()
    scene.kill(Part.POSTGRES)
    scene.wave()
    scene.notices("waiting")
    scene.notices("reports not read")
    scene.mend(Part.POSTGRES)
    scene.wave()
    scene.settles()


def test_rabbitmq_is_killed(scene):
    scene.wave()
    scene.kill(Part.RABBITMQ)
    scene.wave()
    scene.notices("queue lost")
    scene.notices("jobs not published")
    scene.mend(Part.RABBITMQ)
    scene.wave()
    scene.settles()


def test_the_api_server_is_killed(scene):
    scene.wave()
    scene.kill(Part.KUBERNETES)
    scene.notices("status not written yet")
    scene.notices("lease not renewed")
    scene.mend(Part.KUBERNETES)
    scene.wave()
    scene.settles()


def test_the_api_server_is_away_for_longer_than_a_lease(site, orders, environment, tmp_path):
    environment["LEAT_LEASE_DURATION"] = "1"
    with started("leat_operator", environment, tmp_path) as first:
        scene = Scene(site, first, orders)
        scene.begins()
        scene.wave()
        scene.kill(Part.KUBERNETES)
        assert first.process.wait(20) == 1
        scene.notices("operator ends")  # and whoever started it starts it again
    with started("leat_operator", environment, tmp_path) as second:
        eventually(second.alive, "it answers, and waits")
        scene.mend(Part.KUBERNETES)
        scene.operator = second
        scene.begins()
        scene.wave()
        scene.settles()
        second.end()
