"""The chart, rendered for some sets of values."""

import subprocess
from typing import Any

import yaml
from tests.support.installation import CHART

TRIED = {"dev": {"postgres": {"enabled": True}, "rabbitmq": {"enabled": True}}}
OWN = {
    "postgres": {"url": "postgresql://leat:pw@db/leat"},
    "rabbitmq": {"url": "amqp://leat:pw@rabbit/", "managementUrl": "http://leat:pw@rabbit:15672/"},
}
SECRET = {"existingSecret": "connections"}
EVERYTHING = OWN | {
    "operator": {
        "watchNamespaces": ["shop"],
        "labels": {"team": "ours"},
        "annotations": {"note": "ours"},
        "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {"disk": "ssd"},
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
        "volumes": [{"name": "more", "emptyDir": {}}],
        "volumeMounts": [{"name": "more", "mountPath": "/more"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "system-cluster-critical",
    },
    "images": {"pullSecrets": [{"name": "pull"}]},
    "pools": {
        "default": {
            "replicas": {"min": 2},
            "secrets": {"namespaces": ["default"]},
            "containers": {"namespaces": ["default", "kube-public"]},
        },
        "gpu": {"image": "gpu:1", "serviceAccountAnnotations": {"cloud": "role"}},
        "other": {"serviceAccountName": "given", "secrets": {"namespaces": ["default"]}},
    },
    "policies": {
        "priority": {"enabled": True, "groups": ["ops"]},
        "poolImages": {"enabled": True, "prefixes": ["registry.example.com/"]},
        "noInlineRuns": {"enabled": True},
        "immutableRuns": {"enabled": True},
        "namespaceSelector": {"matchLabels": {"team": "shop"}},
    },
    "networkPolicies": {
        "enabled": True,
        "postgres": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "metricsFrom": [{"namespaceSelector": {}}],
    },
    "webhook": {"enabled": True},
    "readApi": {"enabled": True},
    "apiPriority": {"enabled": True},
    "monitoring": {"dashboards": {"enabled": True}},
}
OPERATORS = {
    "monitoring": {
        **{name: {"enabled": True} for name in ("serviceMonitor", "podMonitor", "prometheusRule")},
        "labels": {"release": "prometheus"},
    },
    "certManager": {"enabled": True},
}
"""What needs the CRDs of others."""

CASES = {"tried": TRIED, "own": OWN, "secret": SECRET, "everything": EVERYTHING}


def helm(command: str, values: dict[str, Any], *arguments: str) -> "subprocess.CompletedProcess[str]":
    given = ["helm", *command.split(), str(CHART), "--values", "-", "--namespace", "place", *arguments]
    return subprocess.run(given, input=yaml.safe_dump(values), capture_output=True, text=True, check=False)


def rendered(values: dict[str, Any], *arguments: str) -> list[dict[str, Any]]:
    done = helm("template leat", values, *arguments)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of(documents: list[dict[str, Any]], kind: str, name: str = "") -> list[dict[str, Any]]:
    return [one for one in documents if one["kind"] == kind and (not name or one["metadata"]["name"] == name)]


def pods(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]
        for one in documents
        if "template" in one.get("spec", {})
    }
    return found | {one["metadata"]["name"]: one["spec"] for one in of(documents, "Pod")}
