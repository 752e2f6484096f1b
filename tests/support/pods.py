"""What a cluster's controllers and kubelet would do with a Job, done by a test."""

import json
import re
from base64 import b64decode
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config, utils

Json = dict[str, Any]


class Cluster:
    """A namespace of an API server without controllers and nodes."""

    def __init__(self, api: Any, namespace: str) -> None:
        self.namespace = namespace
        self._jobs = client.BatchV1Api(api)
        self._core = client.CoreV1Api(api)
        self._plain = api.sanitize_for_serialization

    def jobs(self) -> list[Json]:
        return list(self._plain(self._jobs.list_namespaced_job(self.namespace))["items"])

    def make_job(self, job: Json) -> None:
        self._jobs.create_namespaced_job(self.namespace, job)

    def pod(self, job: Json, name: str = "pod-1", node: str = "") -> None:
        """Make the Job's pod, as its controller would, on a node as the scheduler would choose it."""
        labels = {
            **job["spec"]["template"]["metadata"]["labels"],
            "batch.kubernetes.io/job-name": job["metadata"]["name"],
        }
        spec = dict(job["spec"]["template"]["spec"])
        if node:
            spec["nodeName"] = node
        self._core.create_namespaced_pod(
            self.namespace,
            {"metadata": {"name": f"{job['metadata']['name']}-{name}"[:63], "labels": labels}, "spec": spec},
        )

    def pods(self) -> list[Json]:
        return list(self._plain(self._core.list_namespaced_pod(self.namespace))["items"])

    def becomes(self, state: Json, phase: str = "Running", container: str = "step", **status: Any) -> None:
        """Patch the status of the one pod, as its kubelet would."""
        (pod,) = self.pods()
        own = {"name": container, "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": state}
        body = {"status": {"phase": phase, "containerStatuses": [own], **status}}
        self._core.patch_namespaced_pod_status(pod["metadata"]["name"], self.namespace, body)

    def in_line(self, states: dict[str, Json], phase: str = "Running") -> None:
        """Patch the status of the one pod, whose containers come one after the other."""
        (pod,) = self.pods()
        plain = {"image": "x", "imageID": "", "ready": False, "restartCount": 0}
        status: Json = {"phase": phase}
        for containers, statuses in (("initContainers", "initContainerStatuses"), ("containers", "containerStatuses")):
            names = [each["name"] for each in pod["spec"][containers]]
            status[statuses] = [{"name": name, "state": states.get(name, {}), **plain} for name in names]
        self._core.patch_namespaced_pod_status(pod["metadata"]["name"], self.namespace, {"status": status})

    def secrets(self) -> dict[str, Json]:
        """The variables of each Secret, by its name."""
        found = self._core.list_namespaced_secret(self.namespace).items
        return {
            each.metadata.name: {name: json.loads(b64decode(text)) for name, text in each.data.items()}
            for each in found
        }

    def forbid(self, resource: str) -> None:
        """Take the right to a resource from the runner."""
        rights = client.RbacAuthorizationV1Api(self._core.api_client)
        (role,) = self._plain(rights.list_namespaced_role(self.namespace))["items"]
        role["rules"] = [rule for rule in role["rules"] if resource not in rule["resources"]]
        rights.replace_namespaced_role(role["metadata"]["name"], self.namespace, role)

    def ends(self, code: int, message: str = "", reason: str = "Completed") -> None:
        ended = {"exitCode": code, "message": message, "reason": reason}
        self.becomes({"terminated": ended}, "Succeeded" if code == 0 else "Failed")

    def job_becomes(self, **status: Any) -> None:
        (job,) = self.jobs()
        self._jobs.patch_namespaced_job_status(job["metadata"]["name"], self.namespace, {"status": status})

    def warns(self, about: Json, reason: str, message: str) -> None:
        """An event about an object."""
        named = {key: about["metadata"][key] for key in ("name", "namespace", "uid")}
        event = {
            "metadata": {"generateName": "event-"},
            "involvedObject": {"kind": "Job", "apiVersion": "batch/v1", **named},
            "type": "Warning",
            "reason": reason,
            "message": message,
            "lastTimestamp": "2026-03-01T12:00:00Z",
        }
        self._core.create_namespaced_event(self.namespace, event)

    def remove_pod(self) -> None:
        (pod,) = self.pods()
        self._core.delete_namespaced_pod(pod["metadata"]["name"], self.namespace, grace_period_seconds=0)

    def remove_job(self) -> None:
        (job,) = self.jobs()
        self._jobs.delete_namespaced_job(job["metadata"]["name"], self.namespace, propagation_policy="Background")


@contextmanager
def a_cluster(kubeconfig: str, namespace: str) -> Any:
    connect: Any = config.new_client_from_config
    with connect(kubeconfig) as api:
        cluster = Cluster(api, namespace)
        yield cluster
        for pod in cluster.pods():
            cluster._core.delete_namespaced_pod(pod["metadata"]["name"], namespace, grace_period_seconds=0)


HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "containers.md"


def granted(cluster: Cluster, kubeconfig: str, folder: Path) -> Path:
    """A kubeconfig of a service account that has the rights which the documentation tells to give in the namespace."""
    (text,) = re.findall(r"<!-- rights -->\n```yaml\n(.*?)```", HOW_TO.read_text(), re.DOTALL)
    core, api = cluster._core, cluster._core.api_client
    for name in ("default", "leat-runner"):
        account = {"metadata": {"name": name}}
        core.create_namespaced_service_account(cluster.namespace, account)
    for document in yaml.safe_load_all(text):
        document["metadata"]["namespace"] = cluster.namespace
        for subject in document.get("subjects", ()):
            subject |= {"name": "leat-runner", "namespace": cluster.namespace}
        utils.create_from_dict(api, document)
    request = {"spec": {"audiences": [], "expirationSeconds": 3600}}
    token = core.create_namespaced_service_account_token("leat-runner", cluster.namespace, request).status.token
    known = yaml.safe_load(Path(kubeconfig).read_text())
    known["users"][0]["user"] = {"token": token}
    path = folder / "runner.kubeconfig"
    path.write_text(yaml.safe_dump(known))
    return path
