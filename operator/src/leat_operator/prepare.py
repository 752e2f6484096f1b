"""What is done before a new version runs: the database's schema, the cluster's. Both may be done twice, or by two."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog
import yaml
from tenacity import retry, retry_if_exception_type, wait_random_exponential

from leat_engine import store
from leat_engine.errors import Reason, Rejected, StoreUnavailable
from leat_operator.cluster import Cluster, ClusterUnavailable, RetryAfter
from leat_operator.objects import Resource

DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions")
MANAGER = "leat-upgrade"
"""Owner of the fields of the CRDs. Helm made them once, and never looks at them again."""

log = structlog.get_logger(__name__)


@retry(retry=retry_if_exception_type(StoreUnavailable), wait=wait_random_exponential(multiplier=0.2, max=5))
async def migrate(dsn: str) -> None:
    """Bring the database to this version's schema, as soon as it answers.

    Raises:
        SchemaMismatch: A newer version has changed it so that this one cannot work with it.
        StoreRefused: The URL is none, or Postgres does not let us in.
    """
    try:
        applied = await store.migrate(dsn)
    except StoreUnavailable as error:
        log.warning("waiting for the database", error=str(error))
        raise
    log.info("the database is up to date", applied=applied)


async def define(folder: Path) -> None:
    """Apply the CRDs of the folder.

    Raises:
        Rejected: A file is not a CRD of ours, or there is none.
        Refused: The API server does not take it, or does not let us.
    """
    found = list(_definitions(folder))
    async with Cluster(connections=1) as cluster:
        for body in found:
            await _apply(cluster, body)
            log.info("applied", definition=body["metadata"]["name"])


@retry(retry=retry_if_exception_type(ClusterUnavailable), wait=RetryAfter())
async def _apply(cluster: Cluster, body: dict[str, Any]) -> None:
    await cluster.apply(DEFINITIONS, body, force=True, manager=MANAGER)


def _definitions(folder: Path) -> Iterator[dict[str, Any]]:
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise Rejected(
            [Reason(str(folder), "expected a folder with the files of crds/, found none that ends in .yaml")]
        )
    for path in paths:
        body = yaml.safe_load(path.read_text())
        kind = body.get("kind") if isinstance(body, dict) else type(body).__name__
        if kind != "CustomResourceDefinition":
            raise Rejected([Reason(str(path), f"expected a CustomResourceDefinition, found {kind}")])
        yield body
