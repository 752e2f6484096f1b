"""Alerts and dashboards ask only for metrics that there are."""

import importlib
import json
import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

FILES = Path(__file__).parents[2] / "charts/leat/files"
MODULES = (
    "leat_engine.commit",
    "leat_engine.caretakers.rounds",
    "leat_engine.queue.rabbit.consume",
    "leat_runner.attempt",
    "leat_runner.work",
    "leat_runner.claims",
    "leat_operator.metrics",
)
ASKING = sorted([FILES / "alerts.yaml", *(FILES / "dashboards").glob("*.json")])


@pytest.fixture(scope="module")
def exported():
    """Every name that a scrape may show."""
    for module in MODULES:
        importlib.import_module(module)
    names = set()
    for metric in REGISTRY.collect():
        names |= {metric.name, f"{metric.name}_total", *(sample.name for sample in metric.samples)}
        if metric.type == "histogram":  # one without labels or observations shows no sample yet
            names |= {f"{metric.name}_{part}" for part in ("bucket", "sum", "count")}
    return names


@pytest.mark.parametrize("path", ASKING, ids=lambda path: path.name)
def test_every_metric_that_is_asked_for_is_exported(path, exported):
    asked = set(re.findall(r"\bleat_[a-z_]+", path.read_text()))
    assert asked
    assert asked - exported == set()


@pytest.mark.parametrize("path", sorted((FILES / "dashboards").glob("*.json")), ids=lambda path: path.name)
def test_the_panels_of_a_dashboard_do_not_overlap(path):
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in json.loads(path.read_text())["panels"]
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
