"""What the operator needs of the cluster, checked at its start: kopf alone would serve nothing, without a word."""

from collections.abc import Sequence

from leat_engine.errors import Reason, Rejected
from leat_operator.cluster import Cluster, NotFound
from leat_operator.objects import (
    AUTOSCALERS,
    DEPLOYMENTS,
    LEASES,
    PODS,
    POOLS,
    QUOTAS,
    RUNS,
    SCALED_OBJECTS,
    SIGNALS,
    TRIGGER_AUTHENTICATIONS,
    WORKFLOWS,
    Right,
)


def needed(namespaces: Sequence[str], installation: str) -> list[Right]:
    """The rights for watching ``namespaces`` (all when empty), with Lease and pools in the one of the installation."""
    rights = [Right(verb, LEASES, installation) for verb in ("get", "create", "update")]
    for resource in (DEPLOYMENTS, AUTOSCALERS, SCALED_OBJECTS, TRIGGER_AUTHENTICATIONS):
        # The API server asks for `create` as well when an object is applied that is not there.
        rights += [Right(verb, resource, installation) for verb in ("list", "create", "patch", "delete")]
    rights += [Right(verb, PODS, installation) for verb in ("list", "patch")]
    rights += [Right("list", POOLS, installation), Right("patch", POOLS, installation, "status")]
    for namespace in namespaces or (None,):
        for resource in (WORKFLOWS, RUNS, POOLS, SIGNALS, QUOTAS):
            rights += [Right(verb, resource, namespace) for verb in ("get", "list", "watch")]
            rights.append(Right("patch", resource, namespace, "status"))
        # Triggers start runs, and cancel those that `overlap: replace` ends; what is over goes by its limits.
        rights += [Right(verb, RUNS, namespace) for verb in ("create", "patch", "delete")]
        rights.append(Right("delete", SIGNALS, namespace))
    return rights


async def check(cluster: Cluster, rights: Sequence[Right], lease: str) -> None:
    """Refuse to start without a right or a resource.

    Raises:
        Rejected: With everything that is missing, and what to do.
        ClusterUnavailable: The API server does not answer.
    """
    missing = [
        Reason("", f"the operator's identity may not {right}: apply config/rbac, or grant it")
        for right in rights
        if not await cluster.may(right, lease if right.resource == LEASES and right.verb != "create" else "")
    ]
    if missing:
        raise Rejected(missing)
    for resource in (WORKFLOWS, RUNS, POOLS, SIGNALS, QUOTAS):
        namespace = next((right.namespace for right in rights if right.resource == resource), None)
        try:
            await anext(cluster.pages(resource, namespace, limit=1))
        except NotFound as error:
            raise Rejected(
                [Reason("", f"the API server does not serve {resource.plural}.{resource.group}: apply crds/")]
            ) from error
