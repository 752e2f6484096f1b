"""What the operator handles in the cluster: kinds of objects, single objects, and rights on them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self
from urllib.parse import quote

UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Cancelled"
"""Field selector of the runs that are not over, those without a status included."""


UNDELIVERED = "status.phase!=Delivered,status.phase!=Rejected"
"""Field selector of the signals that nothing has become of yet."""

FINISHED = "status.phase!=," + ",".join(
    f"status.phase!={phase}" for phase in ("Pending", "Running", "Suspended", "Compensating")
)
"""Field selector of the runs that are over. A selector knows no "or", and what has no status yet has no phase."""


class Resource(NamedTuple):
    """A kind of object, as it stands in URLs."""

    group: str
    version: str
    plural: str

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, the object or its subresource."""
        parts = ["", "apis", self.group, self.version] if self.group else ["", "api", self.version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts += [self.plural, *filter(None, (name, subresource))]
        return "/".join(quote(part, safe="") for part in parts)


WORKFLOWS = Resource("leat.dev", "v1alpha1", "workflows")
RUNS = Resource("leat.dev", "v1alpha1", "workflowruns")
SIGNALS = Resource("leat.dev", "v1alpha1", "workflowsignals")
POOLS = Resource("leat.dev", "v1alpha1", "runnerpools")
QUOTAS = Resource("leat.dev", "v1alpha1", "runquotas")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
PODS = Resource("", "v1", "pods")
AUTOSCALERS = Resource("autoscaling", "v2", "horizontalpodautoscalers")
SCALED_OBJECTS = Resource("keda.sh", "v1alpha1", "scaledobjects")
TRIGGER_AUTHENTICATIONS = Resource("keda.sh", "v1alpha1", "triggerauthentications")
LEASES = Resource("coordination.k8s.io", "v1", "leases")
ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews")
CALLER_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews")
SECRETS = Resource("", "v1", "secrets")
CONFIG_MAPS = Resource("", "v1", "configmaps")
POLICIES = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies")
POLICY_BINDINGS = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings")
VALIDATING_WEBHOOKS = Resource("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations")
API_SERVICES = Resource("apiregistration.k8s.io", "v1", "apiservices")


@dataclass(frozen=True, slots=True)
class Ref:
    """One object. A later one of the same name has another uid."""

    resource: Resource
    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, resource: Resource, body: Mapping[str, Any]) -> Self:
        """The reference of an object as the API server shows it."""
        metadata = body["metadata"]
        return cls(resource, metadata["namespace"], metadata["name"], metadata["uid"])


@dataclass(frozen=True, slots=True)
class Right:
    """A verb on a resource, in one namespace or (None) in all of them; with ``name``, on the object of this name."""

    verb: str
    resource: Resource
    namespace: str | None = None
    subresource: str = ""
    name: str = ""

    def __str__(self) -> str:
        where = "all namespaces" if self.namespace is None else f"namespace {self.namespace}"
        what = "/".join(filter(None, (self.resource.plural, self.subresource)))
        what = ".".join(filter(None, (what, self.resource.group)))
        return f"{self.verb} {what} {self.name + ' ' if self.name else ''}in {where}"
