"""What an installation can set: the model from which the chart's values, their schema and their page are written."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from leat_engine.spec.pool import RunnerPoolSpec

Labels = dict[str, str]
Objects = list[dict[str, Any]]
Quantity = Annotated[str, Field(pattern=r"^[0-9.]+([eEinumkKMGTP][a-zA-Z0-9]*)?$")]
Action = Literal["Deny", "Warn", "Audit"]


class Part(BaseModel):
    """A group of values. An unknown one is a mistake."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", populate_by_name=True)


class Image(Part):
    """Where an image is."""

    repository: str
    tag: str = Field(default="", description="The chart's `appVersion` when empty")
    digest: Annotated[str, Field(pattern="^(sha256:[0-9a-f]{64})?$")] = Field(
        default="", description="`sha256:...`; then the tag is only for people"
    )
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"


class Images(Part):
    """The two images."""

    operator: Image = Image(repository="leat-operator")
    runner: Image = Field(default=Image(repository="leat-runner"), description="Of pools that name no `image`")
    pull_secrets: Objects = Field(default=[], description="`[{name: my-registry}]`")


class Postgres(Part):
    """Postgres 15 or later. Every pool has up to 6 connections per runner, the operator 4."""

    url: str = Field(default="", description="`postgresql://USER:PASSWORD@HOST:5432/NAME`; goes into a Secret")


class Rabbitmq(Part):
    """RabbitMQ 3.10 or later with its management plugin."""

    url: str = Field(default="", description="`amqp://USER:PASSWORD@HOST:5672/`; goes into a Secret")
    management_url: str = Field(
        default="", description="`http://USER:PASSWORD@HOST:15672/`; the scaling of pools reads lengths of queues there"
    )


class Artifacts(Part):
    """Where runners put files and large outputs of steps. Without it an output ends at 1 MiB."""

    url: str = Field(
        default="",
        description="`s3://BUCKET/PREFIX?endpoint=https://HOST&region=NAME`, both options if it is not AWS",
    )
    existing_secret: str = Field(
        default="",
        description="A Secret with the keys `access-key-id` and `secret-access-key`; none when the pools' service"
        " accounts have the right (`serviceAccountAnnotations`)",
    )


class DevInstance(Part):
    """An instance without backup, replica or care. It keeps its data in a volume that dies with its pod."""

    enabled: bool = False
    image: str
    resources: dict[str, Any] = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}


class Dev(Part):
    """Bundled instances to try Leat out. **Not for production**: all runs are lost when their pod is."""

    postgres: DevInstance = DevInstance(image="postgres:17")
    rabbitmq: DevInstance = DevInstance(image="rabbitmq:4.1-management")


class Migrations(Part):
    """The database's schema. A hook applies it before new programs start; what it adds, older programs bear."""

    enabled: bool = Field(default=True, description="`false`: somebody runs `leat db migrate` before each upgrade")
    existing_secret: str = Field(
        default="",
        description="Secret whose `database-url` belongs to a user that may create tables, if the programs' may not",
    )
    deadline_seconds: int = Field(default=300, ge=10, description="After which an upgrade fails and nothing changed")


class Crds(Part):
    """Custom resource definitions. Helm installs them once; a hook of the chart upgrades them."""

    upgrade: bool = Field(default=True, description="`false`: somebody applies `crds/` before each upgrade")


class Budget(Part):
    """The PodDisruptionBudget."""

    enabled: bool = True
    min_available: int = Field(default=1, ge=0)


class Pods(Part):
    """What any pod of ours may be given."""

    labels: Labels = Field(default={}, description="More labels of the pods")
    annotations: Labels = Field(default={}, description="More annotations of the pods")
    node_selector: Labels = {}
    tolerations: Objects = []
    affinity: dict[str, Any] = {}
    priority_class_name: str = ""


class ServiceAccount(Part):
    """A service account."""

    create: bool = True
    name: str = Field(default="", description="Made of the release's name when empty")
    annotations: Labels = {}


class Operator(Pods):
    """The process that faces the API server. One replica is active, the others stand by."""

    replicas: int = Field(default=2, ge=1)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    watch_namespaces: list[str] = Field(
        default=[], description="Namespaces that are served, and the release's; all when empty"
    )
    workflow_grace_seconds: int = Field(
        default=300, ge=0, description="How long a run waits for a Workflow that is not there"
    )
    resources: dict[str, Any] = {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"memory": "1Gi"}}
    pod_disruption_budget: Budget = Budget()
    topology_spread_constraints: Objects = Field(
        default=[
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
            }
        ],
        description="Without a `labelSelector`: the operator's own pods",
    )
    service_account: ServiceAccount = ServiceAccount()
    env: Objects = Field(default=[], description="More environment variables, such as those of a proxy")
    volumes: Objects = []
    volume_mounts: Objects = []
    termination_grace_period_seconds: int = Field(default=20, ge=1)


class Namespaces(Part):
    """A grant in some namespaces."""

    namespaces: list[str] = []


class Pool(RunnerPoolSpec):
    """A RunnerPool: the fields of its spec, and what its service account may do, which is nothing unless stated."""

    service_account_annotations: Labels = Field(
        default={}, description="Of a service account made for the pool, such as for a cloud's workload identity"
    )
    secrets: Namespaces = Field(
        default=Namespaces(),
        description="Namespaces whose Secrets the runners may read, for `secret(name, key)`."
        ' They use only those labelled `leat.dev/secret: "true"`',
    )
    containers: Namespaces = Field(
        default=Namespaces(),
        description="Namespaces in which the runners may run Jobs, for the kind `container`"
        " (and create Secrets, where `artifacts.url` is a bucket)",
    )


class Toggle(Part):
    """Something that is there or not."""

    enabled: bool = False


class Webhook(Part):
    """Answers `kubectl apply` with every reason why a Workflow is wrong. Nothing depends on it."""

    enabled: bool = False
    failure_policy: Literal["Ignore", "Fail"] = Field(
        default="Ignore", description="`Ignore`: what is applied while the operator is away is judged afterwards"
    )
    timeout_seconds: int = Field(default=3, ge=1, le=30)


class CertManager(Part):
    """The certificate of the operator's HTTPS port. Without cert-manager the operator makes and renews its own."""

    enabled: bool = False
    issuer_ref: dict[str, str] = Field(
        default={}, description="`{kind: ClusterIssuer, name: NAME}`; a self-signed Issuer is made when empty"
    )


class Monitoring(Part):
    """What a Prometheus operator and Grafana pick up."""

    service_monitor: Toggle = Field(default=Toggle(), description="ServiceMonitor of the operator")
    pod_monitor: Toggle = Field(default=Toggle(), description="PodMonitor of all runners")
    prometheus_rule: Toggle = Field(default=Toggle(), description="Alerts")
    dashboards: Toggle = Field(default=Toggle(), description="ConfigMaps with dashboards for Grafana's sidecar")
    labels: Labels = Field(default={}, description="Of the monitors and rules, such as `{release: prometheus}`")
    dashboard_labels: Labels = {"grafana_dashboard": "1"}
    interval: str = "30s"


class NetworkPolicies(Part):
    """Who may talk to whom. The peers are those of `NetworkPolicy`, such as `[{ipBlock: {cidr: 10.0.0.0/8}}]`."""

    enabled: bool = False
    api_server: Objects = Field(default=[], description="Addresses of the API server; everywhere when empty")
    api_server_ports: list[int] = [443, 6443]
    postgres: Objects = Field(default=[], description="Addresses of Postgres; everywhere when empty")
    postgres_port: int = 5432
    rabbitmq: Objects = Field(default=[], description="Addresses of RabbitMQ; everywhere when empty")
    rabbitmq_ports: list[int] = Field(default=[5672, 5671, 15672, 15671], description="AMQP and the management API")
    metrics_from: Objects = Field(default=[], description="Who may read metrics; everybody when empty")
    runner_egress: Objects = Field(
        default=[{}], description="Egress rules of the runners: where steps may go. `[{}]`: everywhere"
    )
    operator_egress: Objects = Field(
        default=[], description="Further egress rules of the operator, such as to brokers that triggers consume"
    )


class PriorityPolicy(Part):
    """A run above a priority is for some groups only."""

    enabled: bool = False
    actions: list[Action] = ["Warn", "Audit"]
    above: int = Field(default=5, ge=0, le=9, description="Priorities up to this one are for everybody")
    groups: list[str] = Field(default=["system:masters"], description="Who may go above it")


class ImagePolicy(Part):
    """The image of a RunnerPool comes from certain places: its pods have the credentials of the database."""

    enabled: bool = False
    actions: list[Action] = ["Warn", "Audit"]
    prefixes: list[str] = Field(default=[], description="`[registry.example.com/leat/]`; with the slash")


class InlinePolicy(Part):
    """No run with `inline`: only Workflows that were applied, and reviewed, are run."""

    enabled: bool = False
    actions: list[Action] = ["Warn", "Audit"]


class RunPolicy(Part):
    """`inputs` and `inline` of a run cannot be changed. Without it a change of them is taken and does nothing."""

    enabled: bool = False
    actions: list[Action] = ["Deny"]


class SignalPolicy(Part):
    """Who sends a WorkflowSignal is what the API server says: no approval is taken without it. One for the cluster."""

    enabled: bool = Field(default=True, description="`false` for a second release in the same cluster")


class Policies(Part):
    """ValidatingAdmissionPolicies, checked by the API server itself. `Deny` refuses, `Warn` and `Audit` only tell."""

    priority: PriorityPolicy = PriorityPolicy()
    pool_images: ImagePolicy = ImagePolicy()
    no_inline_runs: InlinePolicy = InlinePolicy()
    immutable_runs: RunPolicy = RunPolicy()
    signal_identity: SignalPolicy = SignalPolicy()
    namespace_selector: dict[str, Any] = Field(
        default={},
        description="Where they hold, but for `signalIdentity`, which holds everywhere; so do all when empty",
    )


class ApiPriority(Part):
    """A FlowSchema: a small share of the API server for the operator, lent while idle; queues instead of refusals."""

    enabled: bool = False
    nominal_concurrency_shares: int = Field(default=10, ge=1, description="Those of all levels together are the whole")


class Roles(Part):
    """Rights of people, added to the cluster's own roles `view`, `edit` and `admin`."""

    aggregate: bool = True


class Values(Part):
    """Everything. An unknown value is refused."""

    global_: dict[str, Any] = Field(default={}, alias="global", description="Of a chart that contains this one")
    name_override: str = ""
    fullname_override: str = ""
    existing_secret: str = Field(
        default="",
        description="A Secret with the keys `database-url`, `amqp-url` and `amqp-management-url`,"
        " instead of the URLs below",
    )
    postgres: Postgres = Postgres()
    rabbitmq: Rabbitmq = Rabbitmq()
    artifacts: Artifacts = Artifacts()
    dev: Dev = Dev()
    images: Images = Images()
    crds: Crds = Crds()
    migrations: Migrations = Migrations()
    operator: Operator = Operator()
    pools: dict[str, Pool] = Field(
        default={"default": Pool()},
        description="By name: fields of `RunnerPool.spec`, and `secrets`, `containers`, `serviceAccountAnnotations`",
    )
    read_api: Toggle = Field(
        default=Toggle(), description="The aggregated API `read.leat.dev`, by which `kubectl leat` shows steps and logs"
    )
    webhook: Webhook = Webhook()
    cert_manager: CertManager = CertManager()
    roles: Roles = Roles()
    policies: Policies = Policies()
    api_priority: ApiPriority = ApiPriority()
    network_policies: NetworkPolicies = NetworkPolicies()
    monitoring: Monitoring = Monitoring()
