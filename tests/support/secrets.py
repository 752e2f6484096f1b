"""Secrets of a namespace that hold URLs."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubernetes import client


@dataclass(frozen=True)
class Secrets:
    """Secrets of a namespace that hold URLs."""

    api: Any  # of the official client, which ships no types
    namespace: str
    urls: Mapping[str, str]
    """By their keys in a Secret."""

    def create(self, name: str, **labels: str) -> None:
        metadata = {"name": name, "labels": labels}
        data = {key: b64encode(url.encode()).decode() for key, url in self.urls.items()}
        client.CoreV1Api(self.api).create_namespaced_secret(self.namespace, {"metadata": metadata, "data": data})

    def label(self, name: str) -> None:
        labels = {"metadata": {"labels": {"leat.dev/secret": "true"}}}
        client.CoreV1Api(self.api).patch_namespaced_secret(name, self.namespace, labels)

    def grant(self, name: str) -> None:
        """Let the operator read it, as the page says."""
        rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [name], "verbs": ["get"]}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "leat-triggers"}
        account = {"kind": "ServiceAccount", "name": "leat-operator", "namespace": "leat-system"}
        metadata = {"name": "leat-triggers"}
        rights = client.RbacAuthorizationV1Api(self.api)
        rights.create_namespaced_role(self.namespace, {"metadata": metadata, "rules": [rule]})
        binding = {"metadata": metadata, "roleRef": role, "subjects": [account]}
        rights.create_namespaced_role_binding(self.namespace, binding)
