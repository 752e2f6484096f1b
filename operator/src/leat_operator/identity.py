"""Whether the API server itself checks who sends a WorkflowSignal. Pure.

Kubernetes keeps no creator of an object. The policy `leat-signal-identity` takes only signals that name their creator
rightly, and lets nobody change them; so what they say can be believed if the policy was there before them.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from leat_operator.admit import created_at

NAME = "leat-signal-identity"
_GROUPS = "object.spec.groups.all(group, group in request.userInfo.groups)"
EXPRESSIONS = frozenset(
    {
        "oldObject == null || object.spec == oldObject.spec",
        "oldObject != null || !has(object.spec.by) || object.spec.by == request.userInfo.username",
        f"oldObject != null || !has(object.spec.groups) || {_GROUPS}",
    }
)
"""What the policy has to demand; it may demand more."""

HELP = f"apply config/cluster/signal-identity.yaml (in the chart: policies.signalIdentity) for {NAME}"
Body = Mapping[str, Any]


def doubt(policy: Body | None, binding: Body | None, sent_at: datetime) -> str | None:
    """Why the sender that a signal of ``sent_at`` names cannot be believed, or None."""
    if policy is None or binding is None:
        what = "ValidatingAdmissionPolicy" if policy is None else "ValidatingAdmissionPolicyBinding"
        return f"the cluster has no {what} {NAME}: {HELP}, then say it again"
    if (weakness := _weakness(policy["spec"], binding["spec"])) is not None:
        return f"the policy {NAME} does not hold as it should: {weakness}; {HELP}, then say it again"
    since = max(created_at(policy["metadata"]), created_at(binding["metadata"]))
    if sent_at <= since:
        return f"it was said before the policy {NAME} was there; say it again"
    return None


def _weakness(policy: Body, binding: Body) -> str | None:
    found = {validation["expression"] for validation in policy.get("validations", ())}
    match = policy.get("matchConstraints") or {}
    if policy.get("failurePolicy", "Fail") != "Fail":
        return "expected failurePolicy Fail"
    if not found >= EXPRESSIONS:
        return "its validations are others"
    if policy.get("matchConditions") or policy.get("paramKind") or _narrowed(match):
        return "it matches some signals only"
    if not any(_covers(rule) for rule in match.get("resourceRules", ())):
        return "expected CREATE and UPDATE of workflowsignals in its resourceRules"
    if binding.get("policyName") != NAME or "Deny" not in binding.get("validationActions", ()):
        return "expected a binding of this policy with the action Deny"
    if binding.get("paramRef") or _narrowed(binding.get("matchResources") or {}) or _limited(binding):
        return "its binding holds for some signals only"
    return None


def _limited(binding: Body) -> bool:
    return bool((binding.get("matchResources") or {}).get("resourceRules"))


def _narrowed(match: Body) -> bool:
    return any(match.get(key) for key in ("namespaceSelector", "objectSelector", "excludeResourceRules"))


def _covers(rule: Body) -> bool:
    wanted = {"apiGroups": "leat.dev", "apiVersions": "v1alpha1", "resources": "workflowsignals"}
    named = all({"*", value} & set(rule.get(key, ())) for key, value in wanted.items())
    operations = set(rule.get("operations", ()))
    return named and not rule.get("resourceNames") and ("*" in operations or operations >= {"CREATE", "UPDATE"})
