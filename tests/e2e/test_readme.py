"""What the README shows is what happens."""

import subprocess
from pathlib import Path

import pytest
from tests.support.console import BLOCK, tried

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.fixture
def environment(kubernetes, namespace, tmp_path):
    """A user's kubectl, which talks about one namespace."""
    config = tmp_path / "kubeconfig"
    config.write_text(Path(kubernetes.kubeconfig).read_text())
    set_namespace = ["config", "set-context", "--current", "--namespace", namespace]
    subprocess.run([kubernetes.kubectl, "--kubeconfig", config, *set_namespace], check=True, capture_output=True)
    return {"KUBECONFIG": str(config), "PATH": str(Path(kubernetes.kubectl).parent)}


@pytest.mark.usefixtures("leat")
def test_the_readme_says_what_happens(environment):
    assert tried(README, ROOT, environment) == 4


def test_the_workflow_of_the_readme_is_a_valid_one(tmp_path):
    (example,) = [block["text"] for block in BLOCK.finditer(README) if block["language"] == "yaml"]
    (tmp_path / "order.yaml").write_text(example)
    done = subprocess.run(["leat", "lint", tmp_path / "order.yaml"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
