"""What an installation decides. Every setting is an environment variable: LEAT_ and the field's name in capitals."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from leat_engine.errors import Reason, Rejected


class Settings(BaseSettings):
    """The operator's settings."""

    model_config = SettingsConfigDict(env_prefix="LEAT_", frozen=True)

    database_url: SecretStr = Field(description="Postgres, such as postgresql://leat@db/leat")
    amqp_url: SecretStr = Field(description="RabbitMQ, such as amqp://leat@rabbit/")
    namespace: str = Field(default="leat-system", description="Of the installation: its Lease, the names of its queues")
    watch_namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Namespaces that are served, separated by commas; all of them when empty"
    )
    metrics_port: int = Field(
        default=9090, ge=0, le=65535, description="Of /metrics, /healthz and /readyz; 0 picks one"
    )
    metrics_host: str = Field(default="0.0.0.0", description="Address that the metrics port listens on")  # noqa: S104
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG to ERROR")
    serve_port: int = Field(
        default=0, ge=0, le=65535, description="HTTPS, of the validating webhook and the read API; 0: neither is served"
    )
    serve_host: str = Field(default="0.0.0.0", description="Address that the HTTPS port listens on")  # noqa: S104
    serve_refresh: float = Field(
        default=60.0, gt=0, description="Seconds between looks at the certificates of the HTTPS port"
    )
    service: str = Field(default="leat-operator", description="Service that the API server reaches the HTTPS port by")
    serve_names: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Further DNS names and addresses of the HTTPS port, separated by commas"
    )
    tls_dir: Path | None = Field(
        default=None,
        description="Folder with tls.crt and tls.key, such as a Secret of cert-manager; unset: certificates of our own",
    )
    tls_secret: str = Field(
        default="leat-operator-tls", description="Secret of the installation's namespace for certificates of our own"
    )
    webhook: str = Field(
        default="leat", description="ValidatingWebhookConfiguration of the installation; empty: no webhook is served"
    )
    read_api: str = Field(
        default="v1alpha1.read.leat.dev", description="APIService of the read API; empty: it is not served"
    )
    status_writes_per_second: float = Field(
        default=200.0, gt=0, description="Most status patches a second; more wait, and are coalesced meanwhile"
    )
    status_writes_in_flight: int = Field(default=32, ge=1, description="Most status patches at the same time")
    deletions_per_second: float = Field(
        default=50.0,
        gt=0,
        description="Most finished WorkflowRuns deleted a second, by ttl and limits of history",
    )
    history_interval: float = Field(
        default=600.0, gt=0, description="Seconds between lists of the finished WorkflowRuns"
    )
    workflow_grace: float = Field(
        default=300.0, ge=0, description="Seconds that a run waits for a Workflow that is not there before it fails"
    )
    signal_ttl: float = Field(
        default=86_400.0,
        ge=0,
        description="Seconds after which a WorkflowSignal that was delivered or rejected is deleted",
    )
    lease_duration: int = Field(
        default=15, ge=1, description="Whole seconds after which another replica takes over from one that is silent"
    )
    standing_interval: float = Field(
        default=15.0, gt=0, description="Seconds in which a Workflow's count of active runs is written at most once"
    )
    sweep_interval: float = Field(default=60.0, gt=0, description="Seconds between comparisons of cluster and store")

    runner_image: str | None = Field(default=None, description="Image of the pools that name none")
    runner_secret: str = Field(
        default="leat-runner",
        description="Secret with database-url, amqp-url and amqp-management-url, which pools' pods and KEDA read",
    )
    runner_artifacts_url: str = Field(
        default="", description="Where pools' runners put files and large outputs, as their LEAT_ARTIFACTS_URL"
    )
    runner_artifacts_secret: str = Field(
        default="", description="Secret with access-key-id and secret-access-key for it, if the pods need some"
    )

    @field_validator("watch_namespaces", "serve_names", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class MigrationSettings(BaseSettings):
    """All that a migration needs."""

    model_config = SettingsConfigDict(env_prefix="LEAT_", frozen=True)

    database_url: SecretStr = Field(min_length=1, description="Postgres, as a user that may create tables")


Loaded = TypeVar("Loaded", bound=BaseSettings)


def load() -> Settings:
    """The operator's settings; raises as `read`."""
    return read(Settings)


def read(kind: type[Loaded]) -> Loaded:
    """Read settings from the environment.

    Raises:
        Rejected: A variable is missing or wrong; each is named with what it takes.
    """
    try:
        return kind()
    except ValidationError as error:  # its text would show the values
        raise Rejected(_reason(kind, problem) for problem in error.errors()) from None


def _reason(kind: type[BaseSettings], problem: Any) -> Reason:
    name = str(problem["loc"][0])
    field = kind.model_fields.get(name)
    expected = "" if field is None else f" Expected: {field.description}."
    return Reason(f"LEAT_{name.upper()}", f"{problem['msg']}.{expected}")
