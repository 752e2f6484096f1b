"""What the chart renders, judged by an API server."""

from collections import defaultdict
from typing import Any

import pytest
import yaml
from tests.support.charts import CASES, OWN, rendered
from tests.support.operator import eventually


@pytest.mark.parametrize("case", CASES)
def test_the_api_server_takes_all_that_is_rendered(case, installation):
    """With the rules that no schema tells; those are for `test_conformity.py`."""
    places: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for document in rendered(CASES[case]):
        metadata = document["metadata"]
        if "helm.sh/hook" in metadata.get("annotations", {}):
            continue  # a pod is refused before its account is there
        if metadata.get("namespace", "place") in {"place", "shop"}:
            metadata["namespace"] = installation.work
        if document["kind"] != "APIService":  # whose name is its content
            metadata["name"] += "-dry"
        places[metadata["namespace"]].append(document)
    for place, documents in places.items():
        # An APIService has its content for a name, and the release has that one already.
        dry = (
            "apply",
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
            "--validate=strict",
            "--filename",
            "-",
        )
        installation.kubectl(*dry, namespace=place, stdin=yaml.safe_dump_all(documents))


@pytest.fixture
def policies(installation):
    """The policies, as they refuse, in the namespace of tests."""
    here = {"matchLabels": {"kubernetes.io/metadata.name": installation.work}}
    each = {"enabled": True, "actions": ["Deny"]}
    values = OWN | {
        "policies": {
            "priority": {**each, "above": 5, "groups": ["ops"]},
            "poolImages": {**each, "prefixes": ["registry.example.com/"]},
            "noInlineRuns": each,
            "namespaceSelector": here,
        }
    }
    documents = rendered(values, "--show-only", "templates/policies.yaml")
    for document in documents:
        name = f"{installation.namespace}-{document['metadata']['name']}"
        document["metadata"]["name"] = name
        if "policyName" in document["spec"]:
            document["spec"]["policyName"] = name
    text = yaml.safe_dump_all(documents)
    installation.kubectl("apply", "--filename", "-", stdin=text)
    yield
    installation.kubectl("delete", "--filename", "-", stdin=text)


@pytest.mark.usefixtures("policies")
@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"workflow": {"name": "a"}, "priority": 6}, "spec.priority: 6 is above 5, which only members of ops may set"),
        ({"inline": {"steps": [{"name": "a", "transform": 1}]}}, "spec.inline: runs here are of Workflows"),
    ],
)
def test_a_policy_refuses_with_the_place_and_the_way_out(spec, reason, installation):
    run = {"apiVersion": "leat.dev/v1alpha1", "kind": "WorkflowRun", "metadata": {"name": "p"}, "spec": spec}
    dry = ("create", "--dry-run=server", "--filename", "-")

    def refused():
        return reason in installation.kubectl(*dry, namespace=installation.work, stdin=yaml.safe_dump(run), check=False)

    assert eventually(refused, "the API server knows the policy", 30, every=0.3)
    run["spec"] = {"workflow": {"name": "a"}, "priority": 5}
    installation.kubectl(*dry, namespace=installation.work, stdin=yaml.safe_dump(run))
