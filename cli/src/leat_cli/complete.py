"""What can be completed: names of a cluster, asked for while somebody waits with a finger on the key.

They come by `kubectl get --raw`, which answers before the Kubernetes client of this program would be imported, knows
every way to sign in, and is there where a plugin of it runs. What does not answer within a second completes nothing.
"""

import json
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import typer

_PATIENCE = 1.0  # seconds
_MOST = 500
_LEAT, _READ = "/apis/leat.dev/v1alpha1", "/apis/read.leat.dev/v1alpha1"


def contexts(incomplete: str) -> list[str]:
    """Complete the contexts of the kubeconfig."""
    return _matching(_kubectl(["config", "get-contexts", "--output=name"]).split(), incomplete)


def namespaces(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the namespaces of the cluster."""
    return _matching(_names(ctx, f"/api/v1/namespaces?limit={_MOST}"), incomplete)


def runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the runs of the namespace, except those that the line has."""
    given = _given(ctx)
    found = (name for name in _names(ctx, f"{_LEAT}{_within(ctx)}/workflowruns?limit={_MOST}") if name not in given)
    return _matching(found, incomplete)


def workflows(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the workflows of the namespace."""
    return _matching(_names(ctx, f"{_LEAT}{_within(ctx)}/workflows?limit={_MOST}"), incomplete)


def steps(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the steps of the run that the line names."""
    run = ctx.params.get("name") or next(iter(ctx.args), "")  # the arguments, while an option lacks its value
    if not run:
        return []
    answer = _raw(ctx, f"{_READ}{_within(ctx)}/workflowruns/{quote(run, safe='')}/steps")
    return _matching((step["name"] for step in answer.get("steps", ())), incomplete)


def things(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete what `leat get` takes after `runs` or `workflows`."""
    return workflows(ctx, incomplete) if str(ctx.params.get("what", "")).startswith("w") else runs(ctx, incomplete)


def _matching(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def _given(ctx: typer.Context) -> frozenset[str]:
    named = ctx.params.get("names") or ()
    return frozenset((named,) if isinstance(named, str) else named)


def _names(ctx: typer.Context, path: str) -> Iterator[str]:
    for item in _raw(ctx, path).get("items", ()):
        yield item["metadata"]["name"]


def _within(ctx: typer.Context) -> str:
    """Return the part of a path that names the namespace."""
    named = ctx.params.get("namespace")
    if not named:
        view = _kubectl([*_where(ctx), "config", "view", "--minify", "--output=jsonpath={..namespace}"])
        named = view.strip() or "default"
    return f"/namespaces/{quote(str(named), safe='')}"


def _where(ctx: typer.Context) -> list[str]:
    return [f"--{name}={value}" for name in ("context", "kubeconfig") if (value := ctx.params.get(name))]


def _raw(ctx: typer.Context, path: str) -> dict[str, Any]:
    text = _kubectl([*_where(ctx), "get", f"--request-timeout={_PATIENCE:g}", "--raw", path])
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError:
        return {}
    return found


def _kubectl(arguments: list[str]) -> str:
    """Return what kubectl says, and nothing where it says nothing in time: a completion is silent."""
    try:
        done = subprocess.run(  # noqa: S603 - a list of arguments; no shell reads it
            ["kubectl", *arguments],  # noqa: S607 - the user's kubectl, wherever it is
            capture_output=True, stdin=subprocess.DEVNULL, text=True, check=False, timeout=_PATIENCE,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
