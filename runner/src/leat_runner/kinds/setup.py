"""What kinds are given when the runner starts: the settings that belong to them, and the clock."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from leat_runner.kubernetes import Kubernetes

Clock = Callable[[], datetime]
"""Says what time it is, aware, in UTC. An argument, so that tests and simulations own the time."""


def utc_now() -> datetime:
    """The clock on the wall."""
    return datetime.now(UTC)


class KindSettings(BaseSettings):
    """Settings of the built-in kinds, read from ``LEAT_*`` environment variables or given as arguments."""

    model_config = SettingsConfigDict(env_prefix="LEAT_")

    functions: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Where the pool's @leat.step functions are: module names or .py files, comma-separated."
    )
    http_private_networks: bool = Field(
        default=True,
        description="Whether http, publish, sql and email steps may reach private, loopback, link-local and metadata "
        "addresses.",
    )
    image: str = Field(
        default="",
        description="Image of this runner's pod; container steps with `outputFrom: file` read the output in it, "
        "and those with files carry them.",
    )
    script_grace: float = Field(
        default=5.0, gt=0, description="Seconds a cancelled script has between SIGTERM and SIGKILL."
    )

    @field_validator("functions", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class KindSetup:
    """The one argument of every kind."""

    settings: KindSettings
    clock: Clock = utc_now
    kubernetes: Kubernetes = field(default_factory=Kubernetes)
