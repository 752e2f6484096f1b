"""Runs and workflows of a cluster, read through its API server. The only module that imports `kubernetes`."""

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from leat_cli.problems import CommandError, Unavailable
from leat_cli.resources import WorkflowSnapshot, run_of_resource, workflow_of_resource
from leat_cli.snapshot import RunSnapshot

GROUP, VERSION = "leat.dev", "v1alpha1"
_TIMEOUT = 10.0  # seconds for the API server to answer


class Cluster:
    """The cluster of a kubeconfig context, or the one that this process runs in."""

    where = "the cluster"

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self._api = api
        self._objects = client.CustomObjectsApi(api)
        self.namespace = namespace

    @classmethod
    def connect(cls, context: str | None) -> "Cluster":
        """Read the kubeconfig; the API server is not asked yet.

        Raises:
            Unavailable: There is no kubeconfig, or no such context in it.
        """
        try:
            contexts, current = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
        except ConfigException as error:
            return cls._of_pod(error)
        chosen = next((found for found in contexts if found["name"] == (context or current["name"])), None)
        if chosen is None:
            names = ", ".join(sorted(found["name"] for found in contexts))
            raise Unavailable(f"found --context {context!r}, expected one of the kubeconfig: {names}")
        try:
            api = config.new_client_from_config(context=chosen["name"])  # type: ignore[no-untyped-call]
        except ConfigException as error:
            raise Unavailable(f"the kubeconfig cannot be used: {error}") from error
        return cls(api, chosen["context"].get("namespace") or "default")

    @classmethod
    def _of_pod(cls, missing: ConfigException) -> "Cluster":
        settings = client.Configuration()
        try:
            config.load_incluster_config(settings)  # type: ignore[no-untyped-call]
        except ConfigException:
            message = (
                f"no cluster to ask: {missing} Name a kubeconfig (export KUBECONFIG=FILE), or read the runs from their "
                "database (--database URL, or export LEAT_DATABASE_URL=URL)."
            )
            raise Unavailable(message) from missing
        return cls(client.ApiClient(settings), "default")

    async def runs(self, namespace: str | None, limit: int) -> list[RunSnapshot]:
        """Return the newest runs of a namespace, or of all; inputs are left out."""
        items = await self._list("workflowruns", namespace)
        items.sort(key=lambda item: str(item["metadata"].get("creationTimestamp", "")), reverse=True)
        return [run_of_resource(item, None) for item in items[:limit]]

    async def run(self, namespace: str, name: str) -> RunSnapshot | None:
        """Return a run, or None when there is no such resource."""
        resource = await self._get("workflowruns", namespace, name)
        if resource is None:
            return None
        reference = (resource["spec"].get("workflow") or {}).get("name")
        workflow = await self._get("workflows", namespace, reference) if reference else None
        return run_of_resource(resource, workflow["spec"] if workflow else None)

    async def workflows(self, namespace: str | None) -> list[WorkflowSnapshot]:
        """Return the workflows of a namespace, or of all, by name."""
        items = await self._list("workflows", namespace)
        return sorted(map(workflow_of_resource, items), key=lambda found: (found.namespace, found.name))

    async def workflow(self, namespace: str, name: str) -> WorkflowSnapshot | None:
        """Return a workflow, or None when there is no such resource."""
        resource = await self._get("workflows", namespace, name)
        return workflow_of_resource(resource) if resource else None

    async def close(self) -> None:
        """Close the connections."""
        self._api.close()  # type: ignore[no-untyped-call]

    async def _list(self, plural: str, namespace: str | None) -> list[dict[str, Any]]:
        where = () if namespace is None else (namespace,)
        call = "list_cluster_custom_object" if namespace is None else "list_namespaced_custom_object"
        try:
            return list((await self._call(call, *where, plural))["items"])
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            raise self._explained(error, plural) from error

    async def _get(self, plural: str, namespace: str, name: str) -> dict[str, Any] | None:
        try:
            return await self._call("get_namespaced_custom_object", namespace, plural, name)
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND and _is_about(error, name):
                return None
            raise self._explained(error, plural) from error
        except urllib3.exceptions.HTTPError as error:
            raise self._explained(error, plural) from error

    async def _call(self, method: str, *arguments: str) -> dict[str, Any]:
        call: Callable[..., dict[str, Any]] = getattr(self._objects, method)
        return await asyncio.to_thread(call, GROUP, VERSION, *arguments, _request_timeout=_TIMEOUT)

    def _explained(self, error: Exception, plural: str) -> CommandError:
        """Return what a person can do about a call that failed."""
        host = self._api.configuration.host
        if not isinstance(error, ApiException):
            return Unavailable(f"the API server {host} does not answer: {error}")
        match error.status:
            case 401:
                return Unavailable(f"the API server {host} does not know you: sign in again, or use another --context")
            case 403:
                return Unavailable(f"you may not read {plural}.{GROUP}: {_message(error)}")
            case 404:
                return Unavailable(
                    f"the cluster at {host} knows no {plural}.{GROUP}: install Leat there, or use another --context"
                )
            case status:
                return Unavailable(f"the API server {host} answered {status}: {_message(error)}")


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def _is_about(error: ApiException, name: str) -> bool:
    """Whether a 404 means that the object is missing; otherwise its whole resource type is."""
    try:
        return str(json.loads(error.body or "")["details"]["name"]) == name
    except (TypeError, ValueError, KeyError):
        return False
