"""How Leat's own processes are started against a stack: the one place that demo, tests and bench take it from."""

import sys
from pathlib import Path

from leat_stack.apiserver import OPERATOR_NAMESPACE
from leat_stack.daemons import Program
from leat_stack.endpoints import Endpoints

SAMPLES = Path(__file__).parents[4] / "config" / "samples"


def operator(endpoints: Endpoints, *, metrics_port: int) -> Program:
    """Return the operator, with the rights of its service account and no others."""
    env = {
        **_installation(endpoints),
        "KUBECONFIG": endpoints.operator_kubeconfig,
        "LEAT_METRICS_PORT": str(metrics_port),
        "LEAT_METRICS_HOST": "127.0.0.1",
    }
    return Program("operator", [sys.executable, "-m", "leat_operator"], env)


def runner(endpoints: Endpoints, number: int, *, metrics_port: int, functions: str = "") -> Program:
    """Return a runner of the pool `default`. `functions`: module names or .py files, separated by commas."""
    env = {
        **_installation(endpoints),
        "LEAT_NAME": f"runner-{number}",
        "LEAT_POOL": "default",
        "LEAT_FUNCTIONS": functions,
        "LEAT_METRICS_PORT": str(metrics_port),
        "LEAT_METRICS_HOST": "127.0.0.1",
    }
    return Program(f"runner-{number}", [sys.executable, "-m", "leat_runner"], env)


def migration(endpoints: Endpoints) -> Program:
    """Return the program that brings the database to the schema of this tree, and ends."""
    return Program("migration", [sys.executable, "-m", "leat_cli", "db", "migrate"], _installation(endpoints))


def _installation(endpoints: Endpoints) -> dict[str, str]:
    return {
        "LEAT_DATABASE_URL": endpoints.postgres_dsn,
        "LEAT_AMQP_URL": endpoints.amqp_url,
        "LEAT_NAMESPACE": OPERATOR_NAMESPACE,
    }
