"""The documents that an API server's client expects: errors as `Status`, and what there is to be asked for. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

GROUP, VERSION = "read.leat.dev", "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    413: "RequestEntityTooLarge",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Answer(Exception):
    """A request ends without what it asked for. ``retry_after``: seconds after which it may succeed."""

    def __init__(self, code: int, message: str, *, retry_after: int = 0) -> None:
        self.code = code
        self.message = message
        self.retry_after = retry_after
        super().__init__(message)

    def status(self) -> dict[str, Any]:
        """The `Status` object that tells it."""
        details = {"retryAfterSeconds": self.retry_after} if self.retry_after else {}
        return failure(self.code, self.message, details)


def failure(code: int, message: str, details: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A `Status` that says no."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": _REASONS.get(code, "Unknown"),
        "details": dict(details or {}),
        "code": code,
    }


_GROUP_VERSION = {"groupVersion": API_VERSION, "version": VERSION}
_GROUP = {"name": GROUP, "versions": [_GROUP_VERSION], "preferredVersion": _GROUP_VERSION}


def _resource(name: str, kind: str, verbs: Sequence[str], *, namespaced: bool) -> dict[str, Any]:
    singular = "" if "/" in name else name.removesuffix("s")
    return {"name": name, "singularName": singular, "namespaced": namespaced, "kind": kind, "verbs": list(verbs)}


_RESOURCES = [
    _resource("pools", "PoolLoad", ["list"], namespaced=False),
    _resource("workflowruns/steps", "RunSteps", ["get"], namespaced=True),
    _resource("workflowruns/log", "RunLog", ["get"], namespaced=True),
    _resource("workflowruns/artifacts", "RunArtifacts", ["get"], namespaced=True),
    _resource("workflows/durations", "StepDurations", ["get"], namespaced=True),
    _resource("workflows/revisions", "WorkflowRevisions", ["get"], namespaced=True),
]
_INFO = {"title": "Leat, for people who read", "version": VERSION}

DOCUMENTS: Mapping[str, Mapping[str, Any]] = {
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_GROUP]},
    f"/apis/{GROUP}": {"kind": "APIGroup", "apiVersion": "v1", **_GROUP},
    f"/apis/{API_VERSION}": {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": API_VERSION,
        "resources": _RESOURCES,
    },
    # The API server asks for these again and again until it gets some.
    "/openapi/v2": {"swagger": "2.0", "info": _INFO, "paths": {}},
    "/openapi/v3": {"paths": {}},
}
"""What is found by those who look for what there is."""
