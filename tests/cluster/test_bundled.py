"""The bundled Postgres and RabbitMQ, as somebody who tries Leat out has them.

Where the whole lane runs on them there is nothing to add. Elsewhere their images are built here, of Debian's packages.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.installation import RUNNERS, installed
from tests.support.ledger import a_run
from tests.support.operator import eventually

IMAGES = Path(__file__).parent / "images"
PARTS = ("postgres", "rabbitmq")
STEPS = (("first", []), ("second", ["first"]), ("third", ["second"]))


@pytest.fixture(scope="module")
def tried(site, tmp_path_factory):
    """A release with its own servers, which looks after its own namespaces only."""
    if site.servers is None:
        pytest.skip("the whole lane runs on the bundled instances")
    own = replace(site, name=f"{site.name}-dev", servers=None, shared=True)
    images = {part: own.image(part, IMAGES / part / "Dockerfile", IMAGES / part) for part in PARTS}
    dev = {part: {"enabled": True, "image": image} for part, image in images.items()}
    off = {"webhook": {"enabled": False}, "readApi": {"enabled": False}, "pools": {"default": {}}}
    with installed(own, Path(tmp_path_factory.mktemp("bundled")), {"dev": dev, **off}) as found:
        yield found


def test_a_release_with_its_own_servers_runs_a_workflow(tried):
    assert "Phase:          Succeeded" in tried.helm("test", tried.release, "--timeout", "3m")
    notes = tried.helm("get", "notes", tried.release)
    assert "NOT FOR PRODUCTION" in notes


def test_runs_go_on_when_the_bundled_rabbitmq_and_all_its_queues_are_gone(tried):
    steps = [{"name": name, "script": {"shell": "bash", "run": "sleep 1"}, "needs": needs} for name, needs in STEPS]
    workflow = {"apiVersion": "leat.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "w"}}
    tried.apply({**workflow, "spec": {"steps": steps}})
    names = {f"w-{number}" for number in range(10)}
    tried.create(*(a_run(name, "w") for name in sorted(names)))
    (pod,) = tried.pods("app.kubernetes.io/component=dev-rabbitmq")
    tried.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
    assert {run["status"]["phase"] for run in tried.ended(names)} == {"Succeeded"}
    eventually(lambda: tried.pods(RUNNERS), "the pool is there")
