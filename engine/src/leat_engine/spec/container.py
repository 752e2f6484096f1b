"""The fields of the `container` kind: what of a Kubernetes pod a workflow may say.

Names and meanings are those of Kubernetes, so that a pod's fields can be pasted. What would reach the node (host paths,
host networks, privileged containers, added capabilities) has no field.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from leat_engine import limits
from leat_engine.spec.duration import Duration
from leat_engine.spec.file_name import file_name
from leat_engine.spec.model import Model

Text = str | int | float | bool
Name = Annotated[str, Field(min_length=1, max_length=253)]
Quantity = str | int | float
Number = Annotated[int, Field(ge=0)]
Labels = dict[str, str]

MANY = 256
"""Items of one list."""


class KeyRef(Model):
    """A key of a ConfigMap or Secret in the run's namespace."""

    name: Name
    """Name of the ConfigMap or Secret."""
    key: Name
    """Key within it."""
    optional: bool = False
    """Whether it may be missing."""


class FieldRef(Model):
    """A field of the pod."""

    field_path: Name
    """Path of the field, such as `status.podIP`."""


class ResourceFieldRef(Model):
    """A request or limit of the container."""

    resource: Name
    """Such as `limits.memory`."""
    divisor: Quantity | None = None
    """Unit of the value."""


class EnvSource(Model):
    """Where the value of a variable comes from. The cluster reads it; it never passes through Leat."""

    secret_key_ref: KeyRef | None = None
    """A key of a Secret."""
    config_map_key_ref: KeyRef | None = None
    """A key of a ConfigMap."""
    field_ref: FieldRef | None = None
    """A field of the pod."""
    resource_field_ref: ResourceFieldRef | None = None
    """A request or limit of the container."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, "secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef")
        return self


class EnvVar(Model):
    """An environment variable."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[^=\x00]+$")]
    """Its name. Names that begin with `LEAT_` are set by Leat."""
    value: Any = None
    """Its value; what is no text is given as JSON. `$(NAME)` in it is not expanded."""
    value_from: EnvSource | None = None
    """Where the value comes from, instead of `value`."""

    @model_validator(mode="after")
    def _one_value(self) -> Self:
        if self.value is not None and self.value_from is not None:
            raise ValueError("expected one of `value` and `valueFrom`, found both")
        return self


class SourceRef(Model):
    """A ConfigMap or Secret in the run's namespace."""

    name: Name
    """Its name."""
    optional: bool = False
    """Whether it may be missing."""


class EnvFrom(Model):
    """Variables from every key of a ConfigMap or Secret."""

    config_map_ref: SourceRef | None = None
    """A ConfigMap."""
    secret_ref: SourceRef | None = None
    """A Secret."""
    prefix: str = ""
    """Put before each name."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, "configMapRef", "secretRef")
        return self


class Resources(Model):
    """Requests and limits by resource, such as `cpu`, `memory` or `nvidia.com/gpu`."""

    requests: dict[str, Quantity] = Field(default_factory=dict)
    """What the scheduler reserves."""
    limits: dict[str, Quantity] = Field(default_factory=dict)
    """What the container cannot exceed."""


class KeyToPath(Model):
    """One key as a file."""

    key: Name
    """The key."""
    path: Name
    """The file's path within the volume."""
    mode: Number | None = None
    """The file's mode bits."""


class ConfigMapVolume(Model):
    """Files from a ConfigMap."""

    name: Name
    """Its name."""
    items: Annotated[list[KeyToPath], Field(max_length=MANY)] = Field(default_factory=list)
    """Keys to show; all if empty."""
    default_mode: Number | None = None
    """Mode bits of the files."""
    optional: bool = False
    """Whether it may be missing."""


class SecretVolume(Model):
    """Files from a Secret."""

    secret_name: Name
    """Its name."""
    items: Annotated[list[KeyToPath], Field(max_length=MANY)] = Field(default_factory=list)
    """Keys to show; all if empty."""
    default_mode: Number | None = None
    """Mode bits of the files."""
    optional: bool = False
    """Whether it may be missing."""


class ClaimVolume(Model):
    """A PersistentVolumeClaim of the run's namespace."""

    claim_name: Name
    """Its name."""
    read_only: bool = False
    """Whether it is mounted for reading only."""


class EmptyDirVolume(Model):
    """A directory that lives as long as the pod."""

    medium: Literal["", "Memory"] = ""
    """`Memory` for a file system in memory, which counts against the memory limit."""
    size_limit: Quantity | None = None
    """The most that it may hold."""


class Volume(Model):
    """A volume, of exactly one of these sources."""

    name: Name
    """What `volumeMounts` call it."""
    persistent_volume_claim: ClaimVolume | None = None
    """A PersistentVolumeClaim."""
    config_map: ConfigMapVolume | None = None
    """Files from a ConfigMap."""
    secret: SecretVolume | None = None
    """Files from a Secret."""
    empty_dir: EmptyDirVolume | None = None
    """An empty directory."""
    projected: dict[str, Any] | None = None
    """Several sources in one directory, as Kubernetes has it."""
    csi: dict[str, Any] | None = None
    """A volume of a CSI driver, as Kubernetes has it."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, "persistentVolumeClaim", "configMap", "secret", "emptyDir", "projected", "csi")
        return self


class VolumeMount(Model):
    """Where a volume is seen."""

    name: Name
    """The volume."""
    mount_path: Name
    """The directory in the container."""
    sub_path: str = ""
    """A path within the volume."""
    read_only: bool = False
    """Whether the container may only read."""


class Toleration(Model):
    """A taint that the pod bears."""

    key: str = ""
    """The taint's key; empty for all."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """How the value is compared."""
    value: str = ""
    """The taint's value."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """The taint's effect; empty for all."""
    toleration_seconds: Number | None = None
    """How long a NoExecute taint is borne."""


class PullSecret(Model):
    """A Secret with a registry's credentials."""

    name: Name
    """Its name."""


class SecurityContext(Model):
    """Who the container is. It never gets more rights than its image's user: there is no field for that."""

    run_as_user: Number | None = None
    """User id."""
    run_as_group: Number | None = None
    """Group id."""
    run_as_non_root: bool | None = None
    """Refuse to run as root."""
    read_only_root_filesystem: bool = False
    """Let the container write to volumes only."""
    fs_group: Number | None = None
    """Group that owns the volumes."""


class Container(Model):
    """Runs an image as a Kubernetes Job in the run's namespace.

    What it writes to the file `$LEAT_OUTPUT` is the output: JSON if it parses, text otherwise. Another exit code than 0
    fails the attempt with `ExitCode`. The pool's service account needs rights for it: docs/how-to/containers.md.
    """

    image: Annotated[str, Field(min_length=1, max_length=1024)]
    """The image."""
    command: Annotated[list[Text], Field(max_length=MANY)] = Field(default_factory=list)
    """The program, instead of the image's entry point. There is no shell, and `$(NAME)` is not expanded."""
    args: Annotated[list[Text], Field(max_length=MANY)] = Field(default_factory=list)
    """Its arguments, instead of the image's."""
    working_dir: str = ""
    """Where it runs; the image's directory if empty."""
    env: Annotated[list[EnvVar], Field(max_length=MANY)] = Field(default_factory=list)
    """Environment variables. `valueFrom` stays a reference: the cluster reads the Secret, not Leat."""
    env_from: Annotated[list[EnvFrom], Field(max_length=MANY)] = Field(default_factory=list)
    """Variables from whole ConfigMaps and Secrets."""
    resources: Resources = Resources()
    """Requests and limits."""
    volumes: Annotated[list[Volume], Field(max_length=MANY)] = Field(default_factory=list)
    """Volumes of the pod."""
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=MANY)] = Field(default_factory=list)
    """Where they are seen."""
    output_from: Literal["terminationMessage", "file"] = "terminationMessage"
    """How the output leaves the pod. `terminationMessage` takes less than 4 KiB; `file` takes 1 MiB, by a second
    container of the runner's image that starts when the step's has succeeded."""
    files: Annotated[dict[Annotated[str, AfterValidator(file_name)], Any], Field(max_length=limits.FILES)] = Field(
        default_factory=dict
    )
    """Artifacts of other steps that the container finds as files in the directory `$LEAT_FILES`, by name, such as
    `${ steps.make.artifacts.report }`. It and `artifacts` need an artifact store that is a bucket."""
    files_limit: Quantity = "1Gi"
    """The most that the directory `$LEAT_FILES` may hold: a pod with more is evicted."""
    pending_timeout: Duration = "10m"
    """How long the pod may wait to run: for a node, its image, its volumes. Then the attempt fails with `NotStarted`,
    and the reason says what it waited for."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=60, le=30 * 24 * 3600)] = 3600
    """How long the finished Job is kept in the cluster. Its logs are kept in the store."""
    service_account_name: str = ""
    """Service account of the pod. Without one it gets no token."""
    node_selector: Labels = Field(default_factory=dict)
    """Labels that the node must have."""
    tolerations: Annotated[list[Toleration], Field(max_length=MANY)] = Field(default_factory=list)
    """Taints that the pod bears."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is pulled; Kubernetes decides by its tag if unset."""
    image_pull_secrets: Annotated[list[PullSecret], Field(max_length=MANY)] = Field(default_factory=list)
    """Credentials of registries."""
    security_context: SecurityContext = SecurityContext()
    """Who the container is."""

    @model_validator(mode="after")
    def _mounts_have_volumes(self) -> Self:
        known = {volume.name for volume in self.volumes}
        for mount in self.volume_mounts:
            if mount.name not in known:
                raise ValueError(f"volumeMounts names {mount.name!r}, which is none of `volumes`")
        return self


def _exactly_one(model: Model, *fields: str) -> None:
    found = [name for name in fields if name in model.model_dump(by_alias=True, exclude_none=True)]
    if len(found) != 1:
        raise ValueError(f"expected exactly one of {', '.join(fields)}; found {', '.join(found) or 'none'}")
