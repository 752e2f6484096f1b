"""From a container step to its Job. Pure: the same attempt gives the same manifest.

The Job's name is made of the step's effect key and the number of the try. An attempt that goes on with what a dead or
stopped runner began therefore meets the Job that is there; a retry makes another one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from typing import Any

import orjson

from leat_engine.kind import StepContext
from leat_engine.limits import OUTPUT_BYTES
from leat_engine.spec.container import Container, EnvVar, SecurityContext

STEP = "step"
"""The container that does the work."""

KEY = "leat.dev/idempotency-key"
"""The annotation that tells whose a Job is."""

RUN_ID = "leat.dev/run-id"

OUTPUT = "leat-output"
"""The container that tells the output, and the volume that it finds it in."""

OUTPUT_DIR = "/leat/output"

GET = "leat-get"
"""The container that fetches files before the step."""

PUT = "leat-put"
"""The container that puts files after it."""

FILES = "leat-files"
"""The volume that they are in."""

FILES_DIR = "/leat/files"
TERMINATION_LOG = "/dev/termination-log"

SPARE_SECONDS = 30
"""The cluster ends a Job so much later than its runner would have: it is there for the case that no runner is."""

NAME_CHARS = 63

TELL = f"""
import base64, os, stat, sys
try:
    fd = os.open("{OUTPUT_DIR}/value", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
except FileNotFoundError:
    sys.exit()
except OSError as error:
    sys.exit(print("unreadable", error.strerror))
found = os.fstat(fd)
if not stat.S_ISREG(found.st_mode):
    print("unreadable not a plain file")
elif found.st_size > {OUTPUT_BYTES}:
    print("large", found.st_size)
else:
    print("value", base64.b64encode(os.read(fd, {OUTPUT_BYTES})).decode())
"""
"""Prints the file: one line of a word and what it says. It runs when the step has succeeded, in the runner's image."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a Job is."""

    namespace: str
    name: str

    @property
    def jobs(self) -> str:
        """The collection."""
        return f"/apis/batch/v1/namespaces/{self.namespace}/jobs"

    @property
    def job(self) -> str:
        """The Job itself."""
        return f"{self.jobs}/{self.name}"

    @property
    def pods(self) -> str:
        """The pods of the namespace."""
        return f"/api/v1/namespaces/{self.namespace}/pods"

    @property
    def events(self) -> str:
        """The events of the namespace."""
        return f"/api/v1/namespaces/{self.namespace}/events"

    @property
    def secrets(self) -> str:
        """The Secrets of the namespace; they are made, and never read."""
        return f"/api/v1/namespaces/{self.namespace}/secrets"

    def urls(self, container: str) -> str:
        """Name of the Secret with the URLs of a container."""
        return f"{self.name}-{container.removeprefix('leat-')}"

    @property
    def selector(self) -> str:
        """Label selector of the Job's pods."""
        return f"batch.kubernetes.io/job-name={self.name}"


def place_of(step: StepContext) -> Place:
    """Where the Job of this try is, whichever attempt looks for it."""
    digest = blake2b(f"{step.idempotency_key}/{step.try_number}".encode(), digest_size=6).hexdigest()
    words = re.sub(r"[^a-z0-9]+", "-", f"{step.run_name}-{step.name}".lower()).strip("-")
    words = words[: NAME_CHARS - len(digest) - 1].strip("-") or "leat"
    return Place(step.namespace, f"{words}-{digest}")


def job_of(step: StepContext, fields: Container, image: str) -> dict[str, Any]:
    """The Job of an attempt.

    Args:
        step: The attempt.
        fields: What the user wrote, evaluated.
        image: The runner's own image, in which the output is read from its file, and files are carried.
    """
    place = place_of(step)
    labels = _labels(step)
    spec: dict[str, Any] = {
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "ttlSecondsAfterFinished": fields.ttl_seconds_after_finished,
        "template": {
            "metadata": {"labels": labels, "annotations": {"kubectl.kubernetes.io/default-container": STEP}},
            "spec": _pod(step, fields, image),
        },
    }
    if step.timeout is not None:
        spec["activeDeadlineSeconds"] = ceil(step.timeout) + SPARE_SECONDS
    metadata: dict[str, Any] = {
        "name": place.name,
        "namespace": place.namespace,
        "labels": labels,
        "annotations": {KEY: step.idempotency_key},
    }
    if step.run_uid:
        metadata["ownerReferences"] = [
            {
                "apiVersion": "leat.dev/v1alpha1",
                "kind": "WorkflowRun",
                "name": step.run_name,
                "uid": step.run_uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _labels(step: StepContext) -> dict[str, str]:
    return {
        "app.kubernetes.io/managed-by": "leat",
        "leat.dev/run": _label(step.run_name),
        RUN_ID: str(step.key.run_id),
        "leat.dev/step": _label(step.name),
        "leat.dev/attempt": str(step.attempt),
    }


def _label(text: str) -> str:
    """A name as a label's value, which is at most 63 characters that end with a letter or digit."""
    return re.sub(r"[^A-Za-z0-9]+$", "", text[:NAME_CHARS])


def _pod(step: StepContext, fields: Container, image: str) -> dict[str, Any]:
    container = _container(step, fields)
    *before, last = _in_line(container, step, fields, image)
    pod: dict[str, Any] = {"restartPolicy": "Never", "containers": [last]}
    if before:
        pod["initContainers"] = before
    if volumes := [*(volume.as_json() for volume in fields.volumes), *_mounted(container, last, step, fields)]:
        pod["volumes"] = volumes
    if not container["volumeMounts"]:
        del container["volumeMounts"]
    if fields.service_account_name:
        pod["serviceAccountName"] = fields.service_account_name
    else:
        pod["automountServiceAccountToken"] = False
    if fields.node_selector:
        pod["nodeSelector"] = dict(fields.node_selector)
    if fields.tolerations:
        pod["tolerations"] = [toleration.as_json() for toleration in fields.tolerations]
    if fields.image_pull_secrets:
        pod["imagePullSecrets"] = [secret.as_json() for secret in fields.image_pull_secrets]
    if fields.security_context.fs_group is not None:
        pod["securityContext"] = {"fsGroup": fields.security_context.fs_group}
    return pod


def _in_line(container: dict[str, Any], step: StepContext, fields: Container, image: str) -> list[dict[str, Any]]:
    """The step's container with those before and after it. All but the last are init containers.

    What follows the step starts when it has succeeded, and only then. Between it and the one that puts files is always
    another one: time for the runner to give the URLs, so that the kubelet does not meet a Secret that is not there yet,
    for which it looks again after 10 s.
    """
    line = [container]
    if fields.files:
        line.insert(0, _carrier(GET, step, fields, image))
    if fields.output_from == "file" or step.artifacts.paths:
        line.append(_teller(fields, image))
    if step.artifacts.paths:
        line.append(_carrier(PUT, step, fields, image))
    return line


def _mounted(
    container: dict[str, Any], last: dict[str, Any], step: StepContext, fields: Container
) -> Iterator[dict[str, Any]]:
    """Leat's own volumes, which the step's container gets to see."""
    if last["name"] in (OUTPUT, PUT):
        container["volumeMounts"].append({"name": OUTPUT, "mountPath": OUTPUT_DIR})
        yield {"name": OUTPUT, "emptyDir": {}}
    if has_files(step, fields):
        container["volumeMounts"].append({"name": FILES, "mountPath": FILES_DIR})
        yield {"name": FILES, "emptyDir": {"sizeLimit": str(fields.files_limit)}}


def _container(step: StepContext, fields: Container) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": STEP,
        "image": fields.image,
        "env": _environment(step, fields),
        "volumeMounts": [mount.as_json() for mount in fields.volume_mounts],
        "securityContext": _security(fields.security_context),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
    }
    if fields.command:
        container["command"] = [verbatim(_text(word)) for word in fields.command]
    if fields.args:
        container["args"] = [verbatim(_text(word)) for word in fields.args]
    if fields.working_dir:
        container["workingDir"] = fields.working_dir
    if fields.env_from:
        container["envFrom"] = [source.as_json() for source in fields.env_from]
    if fields.image_pull_policy:
        container["imagePullPolicy"] = fields.image_pull_policy
    if resources := _resources(fields):
        container["resources"] = resources
    return container


def _teller(fields: Container, image: str) -> dict[str, Any]:
    small = {"cpu": "50m", "memory": "64Mi"}
    return {
        "name": OUTPUT,
        "image": image,
        "command": ["python", "-c", TELL],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": small | {"cpu": "1"}},
        # The same user as the step's: the file may be for its eyes only.
        "securityContext": _security(fields.security_context) | {"readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": OUTPUT, "mountPath": OUTPUT_DIR, "readOnly": True}],
    }


def has_files(step: StepContext, fields: Container) -> bool:
    """Whether files are carried to the step or from it."""
    return bool(fields.files or step.artifacts.paths)


def _carrier(name: str, step: StepContext, fields: Container, image: str) -> dict[str, Any]:
    """The container that gets or puts files. The step's never sees the URLs."""
    return {
        "name": name,
        "image": image,
        "command": ["python", "-m", "leat_runner.ferry", name.removeprefix("leat-"), FILES_DIR],
        "envFrom": [{"secretRef": {"name": place_of(step).urls(name)}}],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}},
        "securityContext": _security(fields.security_context) | {"readOnlyRootFilesystem": True},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": FILES, "mountPath": FILES_DIR, "readOnly": name == PUT}],
    }


def _variable(variable: EnvVar) -> dict[str, Any]:
    if variable.value_from is not None:
        return {"name": variable.name, "valueFrom": variable.value_from.as_json()}
    return {"name": variable.name, "value": verbatim("" if variable.value is None else _text(variable.value))}


def _environment(step: StepContext, fields: Container) -> list[dict[str, Any]]:
    """What the user set, and what Leat tells the container, which wins."""
    output = f"{OUTPUT_DIR}/value" if fields.output_from == "file" else TERMINATION_LOG
    known = {
        "LEAT_RUN": step.run_name,
        "LEAT_RUN_ID": str(step.key.run_id),
        "LEAT_NAMESPACE": step.namespace,
        "LEAT_WORKFLOW": step.workflow,
        "LEAT_STEP": step.name,
        "LEAT_ATTEMPT": str(step.attempt),
        "LEAT_IDEMPOTENCY_KEY": step.idempotency_key,
        "LEAT_OUTPUT": output,
        "TRACEPARENT": step.traceparent,
    }
    if has_files(step, fields):
        known["LEAT_FILES"] = FILES_DIR
    own = [_variable(variable) for variable in fields.env if variable.name not in known]
    return [*own, *({"name": name, "value": verbatim(value)} for name, value in known.items())]


def _resources(fields: Container) -> dict[str, Any]:
    both = {"requests": fields.resources.requests, "limits": fields.resources.limits}
    return {what: {name: str(amount) for name, amount in found.items()} for what, found in both.items() if found}


def _security(wanted: SecurityContext) -> dict[str, Any]:
    """What the `restricted` pod security standard asks for, but for the user: images that run as root are common."""
    security: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    own = wanted.as_json()
    own.pop("fsGroup", None)
    return security | own


def verbatim(text: str) -> str:
    """The text so that Kubernetes leaves it as it is.

    It would expand ``$(NAME)``, also where that came with an input: a value is never spliced.
    """
    return text.replace("$", "$$") if "$(" in text or "$$" in text else text


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
