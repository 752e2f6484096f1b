"""What an installation decides. Every setting is an environment variable: LEAT_ and the field's name in capitals."""

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
    status_writes_per_second: float = Field(
        default=200.0, gt=0, description="Most status patches a second; more wait, and are coalesced meanwhile"
    )
    status_writes_in_flight: int = Field(default=32, ge=1, description="Most status patches at the same time")
    workflow_grace: float = Field(
        default=300.0, ge=0, description="Seconds that a run waits for a Workflow that is not there before it fails"
    )
    lease_duration: int = Field(
        default=15, ge=1, description="Whole seconds after which another replica takes over from one that is silent"
    )
    sweep_interval: float = Field(default=60.0, gt=0, description="Seconds between comparisons of cluster and store")

    @field_validator("watch_namespaces", mode="before")
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
