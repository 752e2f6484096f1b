"""Grafana dashboards over the metrics of operator and runners."""

import json
from dataclasses import dataclass
from typing import Any

ROW_HEIGHT, COLUMNS, WIDTH = 8, 3, 24


@dataclass(frozen=True)
class Panel:
    """A graph: queries by legend."""

    title: str
    unit: str
    queries: dict[str, str]


def _quantiles(metric: str, by: str = "") -> dict[str, str]:
    of = f"sum by (le{by}) (rate({metric}_bucket{{$of}}[$__rate_interval]))"
    return {
        name: f"histogram_quantile({value}, {of})" for name, value in {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items()
    }


def _rate(metric: str, by: str) -> dict[str, str]:
    return {f"{{{{{by}}}}}": f"sum by ({by}) (rate({metric}{{$of}}[$__rate_interval]))"}


RUNS = (
    Panel("Runs that ended", "ops", _rate("leat_runs_ended_total", "phase")),
    Panel("Steps that ended", "ops", _rate("leat_steps_committed_total", "state")),
    Panel("From ready to claimed", "s", _quantiles("leat_queue_to_start_seconds")),
    Panel("Slots in use", "short", {"{{pod}}": "sum by (pod) (leat_runner_busy{$of})"}),
    Panel("Steps claimed, by what woke the runner", "ops", _rate("leat_claims_total", "by")),
    Panel("Steps that caretakers handed on", "ops", _rate("leat_caretaker_jobs_total", "caretaker")),
    Panel("Time of a commit", "s", _quantiles("leat_commit_seconds")),
    Panel(
        "Attempts per commit",
        "short",
        {
            "mean": "sum(rate(leat_commit_batch_size_sum{$of}[$__rate_interval]))"
            " / sum(rate(leat_commit_batch_size_count{$of}[$__rate_interval]))"
        },
    ),
    Panel("Commits", "ops", {"commits": "sum(rate(leat_commits_total{$of}[$__rate_interval]))"}),
)
OPERATOR = (
    Panel("Active replica", "short", {"{{pod}}": "sum by (pod) (leat_operator_active{$of})"}),
    Panel(
        "Runs that came",
        "ops",
        {
            "accepted": "sum(rate(leat_operator_runs_accepted_total{$of}[$__rate_interval]))",
            "rejected": "sum(rate(leat_operator_runs_rejected_total{$of}[$__rate_interval]))",
            "deleted while they ran": "sum(rate(leat_operator_runs_deleted_total{$of}[$__rate_interval]))",
        },
    ),
    Panel("Runs whose status is behind", "short", {"runs": "max(leat_operator_reports_waiting{$of})"}),
    Panel("Status patches", "ops", _rate("leat_operator_reports_total", "stage")),
    Panel("Writes to the API server", "ops", _rate("leat_operator_api_writes_total", "resource")),
    Panel("Requests that the API server refused", "ops", _rate("leat_operator_api_errors_total", "code")),
)


def dashboard_files() -> dict[str, str]:
    """The dashboards by path below the chart."""
    found = {"leat-runs": ("Leat / Runs", RUNS), "leat-operator": ("Leat / Operator", OPERATOR)}
    return {f"files/dashboards/{uid}.json": _dashboard(uid, *one) for uid, one in found.items()}


def _dashboard(uid: str, title: str, panels: tuple[Panel, ...]) -> str:
    source = {"type": "prometheus", "uid": "${datasource}"}
    body = {
        "uid": uid,
        "title": title,
        "tags": ["leat"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                {
                    "name": "namespace",
                    "type": "query",
                    "datasource": source,
                    "query": {"query": "label_values(leat_operator_active, namespace)", "refId": "namespace"},
                    "refresh": 2,
                },
            ]
        },
        "panels": [_panel(number, panel, source) for number, panel in enumerate(panels)],
    }
    return json.dumps(body, indent=2) + "\n"


def _panel(number: int, panel: Panel, source: dict[str, str]) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    width = WIDTH // COLUMNS
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": source,
        "gridPos": {"x": column * width, "y": row * ROW_HEIGHT, "w": width, "h": ROW_HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": source,
                "expr": query.replace("$of", 'namespace="$namespace"'),
                "legendFormat": legend,
            }
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }
