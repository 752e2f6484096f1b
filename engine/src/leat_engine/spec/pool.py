"""The resource `RunnerPool`."""

from typing import Annotated, Any, Literal

from pydantic import Field

from leat_engine.spec.meta import Metadata
from leat_engine.spec.model import Model
from leat_engine.spec.status import Condition

Object = dict[str, Any]
Objects = Annotated[list[Object], Field(max_length=256)]
Text = Annotated[str, Field(min_length=1, max_length=512)]
Namespace = Annotated[str, Field(max_length=63, pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]

NAME_CHARS = 40
"""Characters of a pool's name: those of what is made for it begin with `leat-pool-`, and end as values of labels."""


class Replicas(Model):
    """The range of the number of runners."""

    min: Annotated[int, Field(ge=0, le=10_000)] = 1
    """The fewest. 0, with KEDA installed, lets the pool rest without any runner until a job comes."""
    max: Annotated[int, Field(ge=1, le=10_000)] = 10
    """The most. Equal to `min`, the number is fixed and nothing scales."""


class ExternalMetric(Model):
    """A metric of the cluster's external metrics API."""

    name: Text
    """Name of the metric."""
    match_labels: Annotated[dict[str, str], Field(max_length=64)] = Field(default_factory=dict)
    """Labels that select it."""
    average_value: Text = "1"
    """The value that each runner is to stand for, as a Kubernetes quantity."""


class Scaling(Model):
    """What the number of runners follows, between `min` and `max`."""

    metric: Literal["queue", "cpu", "external"] = "queue"
    """`queue`: jobs that wait and jobs that are held, asked by KEDA; where KEDA is not installed, the CPU instead.
    `cpu`: the runners' CPU. `external`: a metric that is named."""
    queue_length: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    """Waiting jobs per runner."""
    cpu_utilization: Annotated[int, Field(ge=1, le=1000)] = 70
    """Percent of the requested CPU per runner."""
    external: ExternalMetric | None = None
    """The metric of `metric: external`."""
    polling_interval_seconds: Annotated[int, Field(ge=1, le=3600)] = 5
    """How often KEDA looks for work while the pool is at zero."""
    cooldown_seconds: Annotated[int, Field(ge=0, le=86_400)] = 300
    """How long nothing has to wait or run before the last runner goes."""
    stabilization_seconds: Annotated[int, Field(ge=0, le=3600)] = 60
    """For how long fewer runners must have been enough before any goes."""


class RunnerPoolSpec(Model):
    """The runners of a pool. What Kubernetes knows of pods keeps its Kubernetes shape, and its API server checks it."""

    image: Text | None = None
    """Image of the runner, with the functions that the pool is to know. The installation's unless stated."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is pulled. Kubernetes' default unless stated."""
    image_pull_secrets: Objects = Field(default_factory=list)
    """Secrets to pull the image with: `[{name: NAME}]`."""
    replicas: Replicas = Field(default_factory=Replicas)
    """How many runners there are."""
    scaling: Scaling = Field(default_factory=Scaling)
    """What their number follows."""
    slots: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Steps that one runner executes at once."""
    cpu_slots: Annotated[int, Field(ge=1, le=1024)] = 2
    """Steps of kinds that cost CPU that one runner executes at once."""
    functions: Annotated[list[Text], Field(max_length=64)] = Field(default_factory=list)
    """Modules of the image whose `@leat.step` functions are loaded: module names or paths of `.py` files."""
    namespaces: Annotated[list[Namespace], Field(max_length=256)] = Field(default_factory=list)
    """Namespaces whose runs it serves; all unless stated. Steps of others fail there as `Forbidden`, unexecuted."""
    env: Objects = Field(default_factory=list)
    """Environment variables of the runner, as in a container."""
    env_from: Objects = Field(default_factory=list)
    """Sources of environment variables, as in a container."""
    resources: Object | None = None
    """Requests and limits, as in a container. 100m of CPU and 192Mi are requested unless stated."""
    node_selector: Annotated[dict[str, str], Field(max_length=64)] = Field(default_factory=dict)
    """Labels of the nodes that may run it."""
    tolerations: Objects = Field(default_factory=list)
    """Taints that it tolerates, as in a pod."""
    affinity: Object | None = None
    """Affinity, as in a pod."""
    topology_spread: Objects | None = None
    """Topology spread constraints, as in a pod; without a `labelSelector`, the pool's. Spread over nodes and zones
    where that can be, unless stated."""
    service_account_name: Text | None = None
    """Service account of the runners. Without one they get no token of the cluster."""
    volumes: Objects = Field(default_factory=list)
    """Volumes, as in a pod."""
    volume_mounts: Objects = Field(default_factory=list)
    """Where the runner sees them, as in a container. `/tmp` is an empty directory unless something is mounted there."""
    termination_grace_period_seconds: Annotated[int, Field(ge=1, le=86_400)] = 600
    """Time that a runner which is to go has for its steps. What is not finished by then begins anew elsewhere."""
    pod_labels: Annotated[dict[str, str], Field(max_length=64)] = Field(default_factory=dict)
    """Further labels of the pods."""
    pod_annotations: Annotated[dict[str, str], Field(max_length=64)] = Field(default_factory=dict)
    """Annotations of the pods."""


class RunnerPoolStatus(Model):
    """What the pool's runners are doing."""

    observed_generation: int | None = None
    """The generation of the spec that this status speaks of."""
    conditions: list[Condition] = Field(default_factory=list)
    """Ready, and Reconciling and Stalled as kstatus, Argo CD and Flux read them."""
    ready: int | None = None
    """Runners that are ready."""
    desired: int | None = None
    """Runners that there are to be now."""
    busy: int | None = None
    """Slots in use."""
    slots: int | None = None
    """Slots of all runners."""
    backlog: int | None = None
    """Jobs that wait for a slot."""
    kinds: list[str] = Field(default_factory=list)
    """Step kinds that the pool announced."""
    functions: list[str] = Field(default_factory=list)
    """Functions that the pool announced."""
    image: str | None = None
    """Image of the runner."""


class RunnerPool(Model):
    """A pool of runners with one queue: `pool: NAME` of a workflow or a step names it.

    It belongs to the installation: the operator makes runners of the pools in its own namespace only.
    """

    api_version: Literal["leat.dev/v1alpha1"]
    kind: Literal["RunnerPool"]
    metadata: Metadata
    spec: RunnerPoolSpec = Field(default_factory=RunnerPoolSpec)
    """The runners of the pool."""
    status: RunnerPoolStatus | None = None
    """What the operator found out about it."""
