"""Settings of the runner process, from ``LEAT_*`` environment variables."""

import os
import socket

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class RunnerSettings(BaseSettings):
    """What a runner process needs to know."""

    model_config = SettingsConfigDict(env_prefix="LEAT_")

    database_url: SecretStr = Field(description="PostgreSQL DSN of the store.")
    amqp_url: SecretStr = Field(description="URL of RabbitMQ.")
    namespace: str = Field(default="leat-system", description="Namespace of the installation; part of queue names.")
    pool: str = Field(default="default", description="The pool whose jobs this runner takes.")
    name: str = Field(default_factory=socket.gethostname, description="Shown as the runner of an attempt.")
    pool_revision: str = Field(default="", description="Of the RunnerPool's pods; announced with what the pool can do.")
    tenants: str = Field(default="", description="Namespaces whose steps it executes, with commas; all if empty.")
    slots: int = Field(default=200, ge=1, description="I/O steps at once.")
    cpu_slots: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, description="CPU steps at once.")
    heartbeat: float = Field(default=2.0, gt=0, description="Seconds between signs of life; silent for three, dead.")
    grace: float = Field(default=25.0, ge=0, description="Seconds to finish at SIGTERM.")
    artifacts_url: str = Field(
        default="",
        description="Where files and large outputs of steps go: `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`, or "
        "`file:///DIRECTORY` that all runners share. Without it outputs end at 1 MiB.",
    )
    retention_days: float = Field(default=90, gt=0, description="Days that runs are kept in the store.")
    metrics_port: int | None = Field(default=None, description="Port of Prometheus metrics and health; none if unset.")
    metrics_host: str = Field(default="0.0.0.0", description="Address that the metrics port listens on.")  # noqa: S104
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")
