"""What a run costs the API server, by the operator's own count and by the API server's."""

import re
import subprocess

import pytest
from tests.support.operator import eventually, shop, started
from tests.support.stack import fresh_namespace

from leat_stack import Endpoints, up

RUNS = 20
STEP = {"transform": {"kept": "${ inputs }"}}
STEPS = [{"name": f"step-{n}", **STEP, **({"needs": [f"step-{n - 1}"]} if n else {})} for n in range(5)]


def writes(endpoints: Endpoints) -> float:
    """Requests for WorkflowRuns that wrote, as the API server has counted them since its start."""
    ask = [endpoints.kubectl, "--kubeconfig", endpoints.kubeconfig, "get", "--raw", "/metrics"]
    text = subprocess.run(ask, check=True, capture_output=True, text=True, timeout=30).stdout
    samples = re.findall(r"^apiserver_request_total\{(.*)\} (\S+)$", text, re.MULTILINE)
    written = re.compile(r'verb="(POST|PUT|PATCH|APPLY)"')
    return sum(float(n) for labels, n in samples if 'resource="workflowruns"' in labels and written.search(labels))


@pytest.fixture
def endpoints(site):
    return up(site)


@pytest.fixture
def environment(endpoints):
    with fresh_namespace(endpoints) as namespace:
        yield {
            "KUBECONFIG": endpoints.kubeconfig,
            "LEAT_DATABASE_URL": endpoints.postgres_dsn,
            "LEAT_AMQP_URL": endpoints.amqp_url,
            "LEAT_NAMESPACE": namespace,
            "LEAT_WATCH_NAMESPACES": namespace,
        }


def test_a_run_of_five_steps_costs_three_writes_at_most_the_users_own_included(endpoints, environment, tmp_path):
    with (
        shop(endpoints.kubeconfig, environment["LEAT_NAMESPACE"]) as user,
        started("leat_runner", environment, tmp_path) as runner,
        started("leat_operator", environment, tmp_path) as operator,
    ):
        eventually(lambda: runner.log.read_text().count("queue connected") == 2, "the runner publishes and consumes")
        eventually(lambda: operator.ready and operator.metric("leat_operator_active") == 1, "it is active", 40)
        user.workflow("five", *STEPS)
        before = writes(endpoints)
        for number in range(RUNS):
            user.run(f"five-{number}", "five")
        for number in range(RUNS):
            user.until(f"five-{number}", "Succeeded")
        own = operator.metric("leat_operator_api_writes_total", resource="workflowruns/status")
        assert writes(endpoints) - before == RUNS + own  # our count is the truth
        assert RUNS + own <= 3 * RUNS
