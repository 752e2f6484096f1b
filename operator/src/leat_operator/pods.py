"""The pods of a pool. Pure.

They satisfy the pod security standard `restricted`. What a user writes keeps its shape; what the operator sets cannot
be overridden, and saying so is better than winning silently.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from leat_engine.errors import Reason, Rejected
from leat_engine.spec import RunnerPoolSpec

Body = dict[str, Any]

USER = 10001
"""User and group of the runner's image."""

METRICS_PORT = 9090
POOL_LABEL = "leat.dev/pool"
REVISION = "LEAT_POOL_REVISION"

_REQUESTS = {"requests": {"cpu": "100m", "memory": "192Mi"}}
_MARGIN = 10.0
"""Seconds of the grace period that are left for handing on what was not finished."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What all pools of an installation share.

    Attributes:
        image: Of pools that name none; None when every pool has to.
        secret: Name of the Secret with the addresses of Postgres and RabbitMQ.
        vhost: RabbitMQ's virtual host.
        artifacts_url: Where files and large outputs go; "" keeps none.
        artifacts_secret: Name of the Secret with the credentials for it; "" when the service account has the right.
    """

    namespace: str
    image: str | None
    secret: str
    vhost: str = "/"
    artifacts_url: str = ""
    artifacts_secret: str = ""


def selector(pool: str) -> dict[str, str]:
    """The labels that a Deployment finds its pods by. They can never change."""
    return {"app.kubernetes.io/name": "leat-runner", POOL_LABEL: pool}


def labels(pool: str) -> dict[str, str]:
    """The labels of everything that is made for a pool."""
    more = {"app.kubernetes.io/component": "runner", "app.kubernetes.io/managed-by": "leat-operator"}
    return {**selector(pool), **more, "app.kubernetes.io/part-of": "leat"}


def grace(spec: RunnerPoolSpec) -> float:
    """Seconds that a runner gives its steps at SIGTERM, so that it is gone before the kubelet kills it."""
    whole = float(spec.termination_grace_period_seconds)
    return whole - min(_MARGIN, whole / 4)


def template(name: str, spec: RunnerPoolSpec, installation: Installation) -> Body:
    """The pod template of a pool, with its revision in the environment: the runner announces it with what it can do.

    Raises:
        Rejected: With every reason.
    """
    image = spec.image or installation.image
    found = list(_problems(spec, image))
    if found:
        raise Rejected(found)
    pod = _pod(name, spec, installation, str(image))
    container = pod["spec"]["containers"][0]
    revision = blake2b(orjson.dumps(pod, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()
    container["env"].insert(0, {"name": REVISION, "value": revision})
    return pod


def revision(template: Body) -> str:
    """The revision of a pod template."""
    return str(template["spec"]["containers"][0]["env"][0]["value"])


def _problems(spec: RunnerPoolSpec, image: str | None) -> Iterator[Reason]:
    if not image:
        yield Reason("spec.image", "is missing, and the installation names none (LEAT_RUNNER_IMAGE of the operator)")
    for index, variable in enumerate(spec.env):
        if variable.get("name") in _OWN:
            field = _OWN[variable["name"]]
            yield Reason(f"spec.env[{index}].name", f"{variable['name']} is set by the operator{field}")
    for index, volume in enumerate(spec.volumes):
        if volume.get("name") == _TMP:
            yield Reason(f"spec.volumes[{index}].name", f"{_TMP!r} is the operator's; take another name")


_TMP = "leat-tmp"
_OWN = {
    "LEAT_DATABASE_URL": ", from the installation's Secret",
    "LEAT_AMQP_URL": ", from the installation's Secret",
    "LEAT_NAME": "",
    "LEAT_POOL": "",
    REVISION: "",
    "LEAT_NAMESPACE": "",
    "LEAT_IMAGE": "; write spec.image",
    "LEAT_SLOTS": "; write spec.slots",
    "LEAT_CPU_SLOTS": "; write spec.cpuSlots",
    "LEAT_FUNCTIONS": "; write spec.functions",
    "LEAT_TENANTS": "; write spec.namespaces",
    "LEAT_GRACE": "; write spec.terminationGracePeriodSeconds",
    "LEAT_METRICS_PORT": "",
    "LEAT_ARTIFACTS_URL": "; all pools have one store, LEAT_RUNNER_ARTIFACTS_URL of the operator",
}
"""Variables that the operator sets, and what to write instead."""


_ADDRESSES = {"LEAT_DATABASE_URL": "database-url", "LEAT_AMQP_URL": "amqp-url"}
_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "access-key-id", "AWS_SECRET_ACCESS_KEY": "secret-access-key"}


def _pod(name: str, spec: RunnerPoolSpec, installation: Installation, image: str) -> Body:
    account = spec.service_account_name
    pod: Body = {
        "automountServiceAccountToken": account is not None,
        "enableServiceLinks": False,  # a Service named leat would come as LEAT_... variables
        "terminationGracePeriodSeconds": spec.termination_grace_period_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": _spread(name, spec),
        "containers": [_container(name, spec, installation, image)],
        "volumes": [*spec.volumes, *([] if _has_tmp(spec) else [{"name": _TMP, "emptyDir": {"sizeLimit": "1Gi"}}])],
    }
    given = {
        "serviceAccountName": account,
        "imagePullSecrets": spec.image_pull_secrets,
        "nodeSelector": spec.node_selector,
        "tolerations": spec.tolerations,
        "affinity": spec.affinity,
    }
    pod |= {key: value for key, value in given.items() if value}
    metadata: Body = {"labels": {**spec.pod_labels, **labels(name)}}
    if spec.pod_annotations:
        metadata["annotations"] = spec.pod_annotations
    return {"metadata": metadata, "spec": pod}


def _container(name: str, spec: RunnerPoolSpec, installation: Installation, image: str) -> Body:
    mounts = [*spec.volume_mounts, *([] if _has_tmp(spec) else [{"name": _TMP, "mountPath": "/tmp"}])]  # noqa: S108
    container: Body = {
        "name": "runner",
        "image": image,
        "env": [*_environment(name, spec, installation, image), *spec.env],
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
        "resources": spec.resources or _REQUESTS,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": _probe("/healthz", 1, 120),
        "livenessProbe": _probe("/healthz", 10, 6),
        "readinessProbe": _probe("/readyz", 5, 2),
        "volumeMounts": mounts,
    }
    if spec.image_pull_policy:
        container["imagePullPolicy"] = spec.image_pull_policy
    if spec.env_from:
        container["envFrom"] = spec.env_from
    return container


def _environment(name: str, spec: RunnerPoolSpec, installation: Installation, image: str) -> list[Body]:
    values = {
        "LEAT_IMAGE": image,  # container steps read their output files in it
        "LEAT_POOL": name,
        "LEAT_NAMESPACE": installation.namespace,
        "LEAT_SLOTS": str(spec.slots),
        "LEAT_CPU_SLOTS": str(spec.cpu_slots),
        "LEAT_GRACE": f"{grace(spec):g}",
        "LEAT_METRICS_PORT": str(METRICS_PORT),
    }
    if spec.functions:  # an image may bring its own otherwise
        values["LEAT_FUNCTIONS"] = ",".join(spec.functions)
    if spec.namespaces:
        values["LEAT_TENANTS"] = ",".join(spec.namespaces)
    if installation.artifacts_url:
        values["LEAT_ARTIFACTS_URL"] = installation.artifacts_url
    secrets = [(name, installation.secret, key) for name, key in _ADDRESSES.items()]
    if installation.artifacts_secret:
        secrets += [(name, installation.artifacts_secret, key) for name, key in _CREDENTIALS.items()]
    return [
        {"name": "LEAT_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
        *({"name": key, "value": value} for key, value in values.items()),
        *({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}} for name, secret, key in secrets),
    ]


def _probe(path: str, period: int, failures: int) -> Body:
    return {
        "httpGet": {"path": path, "port": "metrics"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _spread(name: str, spec: RunnerPoolSpec) -> list[Body]:
    own = {"labelSelector": {"matchLabels": selector(name)}}
    if spec.topology_spread is not None:
        return [{**own, **constraint} for constraint in spec.topology_spread]
    return [
        {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway", **own}
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]


def _has_tmp(spec: RunnerPoolSpec) -> bool:
    return any(mount.get("mountPath", "").rstrip("/") == "/tmp" for mount in spec.volume_mounts)  # noqa: S108
