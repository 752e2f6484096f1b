"""What a cluster's controllers and kubelet would do with a Job, done by a test."""

import re
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

    def pod(self, job: Json, name: str = "pod-1") -> None:
        """Make the Job's pod, as its controller would."""
        labels = {
            **job["spec"]["template"]["metadata"]["labels"],
            "batch.kubernetes.io/job-name": job["metadata"]["name"],
        }
        spec = dict(job["spec"]["template"]["spec"])
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
