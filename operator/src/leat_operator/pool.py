"""What there is to be for a RunnerPool: a Deployment and, unless its number is fixed, a scaler. Pure.

No PodDisruptionBudget: a pod that is evicted finishes its steps like any other that has to go, its replacement starts
at once, and a budget for a pool of one would keep nodes from ever being drained.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from leat_engine.queue.rabbit.topology import pool_queue
from leat_engine.spec import RunnerPool, RunnerPoolSpec, parse_pool
from leat_engine.store.scaling import needed_query
from leat_operator.objects import AUTOSCALERS, DEPLOYMENTS, SCALED_OBJECTS, TRIGGER_AUTHENTICATIONS, Resource
from leat_operator.pods import Body, Installation, labels, revision, selector, template

MADE = (TRIGGER_AUTHENTICATIONS, SCALED_OBJECTS, AUTOSCALERS, DEPLOYMENTS)
"""Kinds of objects that are made for pools."""


class Scaler(StrEnum):
    """What decides how many runners there are."""

    KEDA = "keda"
    AUTOSCALER = "autoscaler"
    NOBODY = "nobody"  # the number is fixed


@dataclass(frozen=True, slots=True)
class Desired:
    """What there is to be for a pool.

    Attributes:
        objects: What is applied, in this order. Those of `MADE` that are missing here are not to be.
        floor: Runners that there are at least.
        initial: Runners that a new Deployment begins with; a scaler takes over from there.
        revision: Of the pods.
        remark: Something that its owner should know though it works, or "".
    """

    name: str
    scaler: Scaler
    objects: tuple[tuple[Resource, Body], ...]
    floor: int
    initial: int
    revision: str
    image: str
    remark: str = ""

    @property
    def deployment(self) -> Body:
        """The Deployment, with `spec.replicas` only when nothing scales it."""
        return next(body for resource, body in self.objects if resource == DEPLOYMENTS)


def object_name(pool: str) -> str:
    """The name of everything that is made for a pool."""
    return f"leat-pool-{pool}"


def desire(body: Mapping[str, Any], installation: Installation, *, keda: bool) -> Desired:
    """What there is to be for a RunnerPool, as the API server shows it. ``keda``: whether KEDA is installed.

    Raises:
        Rejected: With every reason that can be known without asking the API server.
    """
    pool = parse_pool(body)
    name, spec = pool.metadata.name, pool.spec
    pod = template(name, spec, installation)
    scaler = _scaler(spec, keda=keda)
    floor = spec.replicas.min if scaler is not Scaler.AUTOSCALER else max(1, spec.replicas.min)
    objects: list[tuple[Resource, Body]] = [(DEPLOYMENTS, _deployment(pool, pod, scaler))]
    match scaler:
        case Scaler.KEDA:
            objects.append((TRIGGER_AUTHENTICATIONS, _authentication(pool, installation)))
            objects.append((SCALED_OBJECTS, _scaled_object(pool, installation)))
        case Scaler.AUTOSCALER:
            objects.append((AUTOSCALERS, _autoscaler(pool, floor)))
        case Scaler.NOBODY:
            pass
    container = pod["spec"]["containers"][0]
    return Desired(
        name=name,
        scaler=scaler,
        objects=tuple(objects),
        floor=floor,
        initial=floor,
        revision=revision(pod),
        image=container["image"],
        remark=_remark(spec, scaler, container["resources"], keda=keda),
    )


def _scaler(spec: RunnerPoolSpec, *, keda: bool) -> Scaler:
    if spec.replicas.min == spec.replicas.max:
        return Scaler.NOBODY
    return Scaler.KEDA if keda and spec.scaling.metric == "queue" else Scaler.AUTOSCALER


def _remark(spec: RunnerPoolSpec, scaler: Scaler, resources: Body, *, keda: bool) -> str:
    if scaler is not Scaler.AUTOSCALER:
        return ""
    found = []
    if spec.scaling.metric == "queue":
        found.append("KEDA is not installed, so it scales by CPU and not by what waits")
    if spec.replicas.min == 0:
        why = "KEDA" if not keda else "`scaling.metric: queue`"
        found.append(f"spec.replicas.min is 0, which needs {why}: one runner stays")
    if spec.scaling.metric != "external" and "cpu" not in (resources.get("requests") or resources.get("limits") or {}):
        found.append("spec.resources.requests.cpu is missing, so the autoscaler cannot tell its CPU and does nothing")
    return "; ".join(found)


def _object(pool: RunnerPool, api_version: str, kind: str, spec: Body) -> Body:
    metadata = pool.metadata
    owner = {
        "apiVersion": pool.api_version,
        "kind": pool.kind,
        "name": metadata.name,
        "uid": metadata.uid,
        "controller": True,
    }
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": object_name(metadata.name),
            "namespace": metadata.namespace,
            "labels": labels(metadata.name),
            "ownerReferences": [owner],
        },
        "spec": spec,
    }


def _deployment(pool: RunnerPool, pod: Body, scaler: Scaler) -> Body:
    spec: Body = {
        "selector": {"matchLabels": selector(pool.metadata.name)},
        # New runners are warm before old ones begin to drain. Draining ones do not count, however long they take.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
        "revisionHistoryLimit": 3,
        "template": pod,
    }
    if scaler is Scaler.NOBODY:
        spec["replicas"] = pool.spec.replicas.max
    return _object(pool, "apps/v1", "Deployment", spec)


def _authentication(pool: RunnerPool, installation: Installation) -> Body:
    """Each trigger takes from it the parameter that it knows."""
    keys = {"host": "amqp-management-url", "connection": "database-url"}
    references = [{"parameter": parameter, "name": installation.secret, "key": key} for parameter, key in keys.items()]
    return _object(pool, "keda.sh/v1alpha1", "TriggerAuthentication", {"secretTargetRef": references})


def _scaled_object(pool: RunnerPool, installation: Installation) -> Body:
    name, spec = pool.metadata.name, pool.spec
    secret = {"name": object_name(name)}
    waiting = {
        "protocol": "http",  # it counts unacknowledged messages as well
        "mode": "QueueLength",
        "value": str(spec.scaling.queue_length),
        "queueName": pool_queue(installation.namespace, name),
        "vhostName": installation.vhost,
    }
    held = {"query": needed_query(name, spec.slots), "targetQueryValue": "1", "activationTargetQueryValue": "0"}
    return _object(pool, "keda.sh/v1alpha1", "ScaledObject", {
        "scaleTargetRef": _target(name),
        "minReplicaCount": spec.replicas.min,
        "maxReplicaCount": spec.replicas.max,
        "pollingInterval": spec.scaling.polling_interval_seconds,
        "cooldownPeriod": spec.scaling.cooldown_seconds,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(spec)}},
        "triggers": [
            {"type": "rabbitmq", "name": "waiting", "metadata": waiting, "authenticationRef": secret},
            {"type": "postgresql", "name": "held", "metadata": held, "authenticationRef": secret},
        ],
    })  # fmt: skip


def _autoscaler(pool: RunnerPool, floor: int) -> Body:
    spec = pool.spec
    metric: Body
    if spec.scaling.external is None:
        target = {"type": "Utilization", "averageUtilization": spec.scaling.cpu_utilization}
        metric = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    else:
        named: Body = {"name": spec.scaling.external.name}
        if spec.scaling.external.match_labels:
            named["selector"] = {"matchLabels": spec.scaling.external.match_labels}
        target = {"type": "AverageValue", "averageValue": spec.scaling.external.average_value}
        metric = {"type": "External", "external": {"metric": named, "target": target}}
    return _object(pool, "autoscaling/v2", "HorizontalPodAutoscaler", {
        "scaleTargetRef": _target(pool.metadata.name),
        "minReplicas": floor,
        "maxReplicas": spec.replicas.max,
        "metrics": [metric],
        "behavior": _behavior(spec),
    })  # fmt: skip


def _target(name: str) -> Body:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": object_name(name)}


def _behavior(spec: RunnerPoolSpec) -> Body:
    return {"scaleDown": {"stabilizationWindowSeconds": spec.scaling.stabilization_seconds}}
