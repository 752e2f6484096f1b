import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CRDS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))}
ANYTHING = "x-kubernetes-preserve-unknown-fields"


def version(name: str) -> dict[str, Any]:
    return CRDS[f"leat.dev_{name}"]["spec"]["versions"][0]


def spec_of(name: str) -> dict[str, Any]:
    return version(name)["schema"]["openAPIV3Schema"]["properties"]["spec"]


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema below one, with its path."""
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from nodes(below, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from nodes(schema[key], f"{path}[]")


ALL = [
    pair for name, crd in CRDS.items() for pair in nodes(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], name)
]


def test_generated_files_are_fresh():
    result = subprocess.run(
        [sys.executable, "hack/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


def test_every_field_is_described():
    undescribed = [path for path, node in ALL if not node.get("description") and not path.endswith(("[]", ".metadata"))]
    assert undescribed == []


def test_schemas_are_structural():
    for path, node in ALL:
        assert "type" in node or node.get(ANYTHING) is True, path
        assert not node.keys() & {"$ref", "anyOf", "oneOf", "allOf", "title", "const"}, path
        assert not (node.get("properties") and node.get("additionalProperties")), path


def test_lists_that_rules_walk_through_are_bounded():
    steps = spec_of("workflows")["properties"]["steps"]
    assert steps["maxItems"] == 5000
    assert steps["x-kubernetes-list-map-keys"] == ["name"]
    assert steps["items"]["x-kubernetes-validations"][0]["message"] == "a step has exactly one kind"


def test_kinds_of_other_packages_reach_the_planner():
    step = spec_of("workflows")["properties"]["steps"]["items"]
    assert step[ANYTHING] is True
    assert {"http", "script", "transform", "wait", "function", "fail"} <= set(step["properties"])


def test_any_field_of_a_kind_may_be_an_expression():
    http = spec_of("workflows")["properties"]["steps"]["items"]["properties"]["http"]
    assert http["required"] == ["url"]
    for name, field in http["properties"].items():
        assert field.get("type", "string") == "string", name
        assert not field.keys() & {"enum", "pattern", "format"}, name


@pytest.mark.parametrize(
    ("name", "short", "columns"),
    [
        ("workflows", "wfl", ["Ready", "Active", "Last", "Revision", "Age", "Message"]),
        ("workflowruns", "wfr", ["Workflow", "Phase", "Progress", "ETA", "Age", "Reason", "Message"]),
        ("runquotas", "wfq", ["Runs", "Starts", "Steps", "Waiting", "Ready", "Age", "Message"]),
        ("runnerpools", "rpool", ["Ready", "Desired", "Busy", "Backlog", "Age", "Message"]),
    ],
)
def test_what_kubectl_shows(name, short, columns):
    assert CRDS[f"leat.dev_{name}"]["spec"]["names"]["shortNames"] == [short]
    assert [column["name"] for column in version(name)["additionalPrinterColumns"]] == columns
    assert version(name)["subresources"] == {"status": {}}


def test_runs_can_be_selected_by_phase_by_why_they_failed_and_by_what_they_go_on_from():
    paths = [field["jsonPath"] for field in version("workflowruns")["selectableFields"]]
    assert paths == [".status.phase", ".status.reason", ".spec.rerun.of"]


def test_the_defaults_of_a_run_are_filled_in_by_the_api_server():
    fields = spec_of("workflowruns")["properties"]
    assert {name: field["default"] for name, field in fields.items() if "default" in field} == {
        "suspend": False,
        "cancel": False,
        "priority": 0,
    }
