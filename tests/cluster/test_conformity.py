"""What the chart renders, judged by kubeconform with the schemas of the cluster's own API server."""

import json
import shutil
import subprocess

import pytest
import yaml
from tests.support import schemas
from tests.support.charts import CASES, EVERYTHING, OPERATORS, rendered
from tests.support.installation import CHART, ROOT

PROGRAM = ROOT / "hack/tools/kubeconform"
OTHERS = "Certificate,Issuer,ServiceMonitor,PodMonitor,PrometheusRule"
"""Kinds of cert-manager and of the Prometheus operator, which this API server need not know."""

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="kubeconform is built with Go, which is not here")


@pytest.fixture(scope="module")
def conform(site, tmp_path_factory):
    """Judges documents; the summary of kubeconform, and what it found."""
    folder = tmp_path_factory.mktemp("kubeconform")
    program = folder / "kubeconform"
    build = ["go", "build", "-o", program, "github.com/yannh/kubeconform/cmd/kubeconform"]
    subprocess.run(build, cwd=PROGRAM, check=True, timeout=600)
    asked = ["kubectl", "--kubeconfig", site.kubeconfig, "get", "--raw", "/openapi/v2"]
    openapi = json.loads(subprocess.run(asked, check=True, capture_output=True).stdout)
    assert schemas.written(openapi, CHART / "crds", folder) > 100

    def judge(documents):
        place = str(folder / schemas.PLACE)
        command = [program, "-strict", "-summary", "-output", "json", "-skip", OTHERS, "-schema-location", place, "-"]
        done = subprocess.run(command, input=yaml.safe_dump_all(documents), capture_output=True, text=True, check=False)
        assert done.stdout, done.stderr
        said = json.loads(done.stdout)
        return said["summary"], [(one["kind"], one["name"], one["msg"]) for one in said["resources"]]

    return judge


@pytest.mark.parametrize("case", [*CASES, "operators"])
def test_all_that_is_rendered_conforms_to_the_schemas_of_the_api_server(case, conform):
    summary, found = conform(rendered(CASES.get(case, EVERYTHING | OPERATORS), "--is-upgrade"))
    assert found == []
    assert (summary["invalid"], summary["errors"]) == (0, 0)
    assert summary["valid"] > 10


@pytest.mark.parametrize(
    ("kind", "field"), [("Deployment", "replica"), ("RunnerPool", "image_"), ("NetworkPolicy", "ports")]
)
def test_a_field_that_there_is_not_would_be_found(kind, field, conform):
    documents = [one for one in rendered(EVERYTHING) if one["kind"] == kind]
    for document in documents:
        document["spec"][field] = 1
    summary, found = conform(documents)
    assert summary["invalid"] == len(documents) > 0
    assert all(f"'{field}'" in message for _, _, message in found)
