"""The page on installing: its commands, from the first one to the removal, as somebody would type them.

Its images are built here under the names that the chart takes when it is told none.
"""

import re
import shlex
import subprocess
from dataclasses import replace

import pytest
import yaml
from tests.support.installation import CHART, DOCKERFILES, ROOT, database

PAGE = (ROOT / "docs/operations/install.md").read_text()
SECTIONS = ("Install", "Upgrade", "Roll back", "Remove")
SPACE = "leat-system"


def commands(section):
    """The indented lines of a section that call kubectl or helm, one command each."""
    text = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]
    lines = "".join(found[1] + "\n" for found in re.finditer(r"^    (.*)$", text, re.MULTILINE))
    return [line for line in lines.replace("\\\n", "").splitlines() if line.startswith(("kubectl ", "helm "))]


def addressed(command, urls):
    """The command with the addresses of this site in the place of the page's."""
    words = (
        f"--from-literal={found[1]}={urls[found[1]]}"
        if (found := re.match(r"--from-literal=([\w-]+)=", word))
        else word
        for word in shlex.split(command)
    )
    return list(words)


@pytest.fixture(scope="module")
def reader(site, tmp_path_factory):
    """Does what the page says, in a folder that has the charts and somebody's values."""
    if site.servers is None:
        pytest.skip("the page installs on servers of one's own: set LEAT_E2E_POSTGRES_URL and the other two")
    if site.shared:
        pytest.skip("the page's Leat answers for all namespaces, and this cluster is shared")
    folder = tmp_path_factory.mktemp("page")
    (folder / "charts").symlink_to(ROOT / "charts")
    (folder / "values.yaml").write_text("existingSecret: leat-connections\noperator: {logLevel: DEBUG}\n")
    environment = ["env", f"KUBECONFIG={site.kubeconfig}"]

    def run(words, *, check=True):
        done = subprocess.run([*environment, *words], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout

    if f"namespace/{SPACE}" in run(["kubectl", "get", "namespaces", "--output", "name"]).split():
        pytest.skip(f"there is a namespace {SPACE} in this cluster, and it is somebody's")
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    for name, dockerfile in DOCKERFILES.items():
        site.image(name, dockerfile, tag=version)
    before = "workflows.leat.dev" in run(["kubectl", "get", "crds", "--output", "name"])
    if before:
        run(["kubectl", "apply", "--server-side", "--force-conflicts", "--filename", "charts/leat/crds"])
    with database(replace(site, name=f"{site.name}-page")) as dsn:
        urls = dict(zip(("database-url", "amqp-url", "amqp-management-url"), (dsn, *site.servers[1:]), strict=True))
        try:
            yield lambda command: run(addressed(command, urls)), before
        finally:
            run(["helm", "uninstall", "leat", "--namespace", SPACE, "--ignore-not-found", "--wait"])
            run(["kubectl", "delete", "namespace", SPACE, "--ignore-not-found"])


def test_every_command_of_the_page_works_in_the_order_of_the_page(reader):
    run, before = reader
    done = []
    for section in SECTIONS:
        for command in commands(section):
            if before and command.startswith("kubectl delete crd"):
                continue  # they are somebody's
            said = run(command)
            done.append(command.split()[:2])
            if command.startswith("helm test"):
                assert "Phase:          Succeeded" in said
    kinds = [" ".join(words) for words in done]
    assert kinds[:7] == [
        "kubectl create",
        "kubectl label",
        "kubectl create",
        "helm install",
        "helm test",
        "helm upgrade",
        "helm rollback",
    ]
    assert "helm uninstall" in kinds
