"""Argo CD's health of every resource: its own language, run over the statuses that Leat writes."""

from pathlib import Path

import pytest
import yaml
from lupa.lua51 import LuaRuntime  # the version that Argo CD speaks
from tests.support.statuses import Case, cases

CONFIG = Path(__file__).parents[2] / "config" / "argocd"
PREFIX = "resource.customizations.health.leat.dev_"


@pytest.fixture(scope="module")
def scripts():
    """As Argo CD gets them: from its ConfigMap."""
    entries = yaml.safe_load((CONFIG / "argocd-cm.yaml").read_text())["data"]
    return {name.removeprefix(PREFIX): text for name, text in entries.items()}


def judged(script, resource):
    lua = LuaRuntime(register_eval=False)
    lua.execute("io, os, require, package, debug = nil, nil, nil, nil, nil")  # none of which Argo CD gives
    lua.globals().obj = table(lua, resource)
    health = lua.execute(script)
    assert set(health) <= {"status", "message"}
    assert isinstance(health["message"], str)
    return health["status"]


def table(lua, value):
    """JSON as Argo CD hands it over: objects and lists as tables, null as nothing, every number a float."""
    if isinstance(value, dict):
        return lua.table_from({key: table(lua, one) for key, one in value.items() if one is not None})
    if isinstance(value, list):
        return lua.table_from([table(lua, one) for one in value])
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_argo_cd_reads_every_status_right(case: Case, scripts):
    assert judged(scripts[case.resource["kind"]], case.resource) == case.argo


@pytest.mark.parametrize("kind", ["Workflow", "WorkflowRun", "RunnerPool", "WorkflowSignal", "RunQuota"])
def test_a_resource_without_any_status_is_progressing(kind, scripts):
    assert judged(scripts[kind], {"kind": kind, "metadata": {"generation": 1}}) == "Progressing"


def test_every_resource_of_ours_has_a_health(scripts):
    crds = [yaml.safe_load(file.read_text()) for file in (CONFIG.parents[1] / "crds").glob("*.yaml")]
    assert {crd["spec"]["names"]["kind"] for crd in crds} <= set(scripts)
