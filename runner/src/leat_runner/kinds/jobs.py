"""The Job of a try: made once, found again, and deleted, also when nobody follows it any more."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from leat_engine.errors import LeatError
from leat_engine.kind import StepContext
from leat_engine.result import ErrorType, StepError
from leat_runner.kinds.job_manifest import KEY, RUN_ID, Place, place_of
from leat_runner.kubernetes import ApiRefused, ApiUnavailable, Kubernetes, NoCluster, pause

Json = dict[str, Any]

log = structlog.get_logger(__name__)


class NoJob(LeatError):
    """The try has no Job, and gets none. ``error`` is how the step fails."""

    def __init__(self, error: StepError) -> None:
        self.error = error
        super().__init__(error.message)


async def make(api: Kubernetes, step: StepContext, body: Json) -> None:
    """Create the Job of this try, unless it is there.

    Raises:
        NoJob: It was there and is gone, or another's has its name.
    """
    place = place_of(step)
    if _may_be_gone(step, body["spec"]["ttlSecondsAfterFinished"], datetime.now(UTC)):
        if await api.read(place.job) is None:
            raise NoJob(_lost(place))
        log.info("job_adopted", job=place.name, step=step.name, attempt=step.attempt)
        return
    try:
        await api.create(place.jobs, body)
    except ApiRefused as refused:
        if refused.reason != "AlreadyExists":
            raise
        found = await api.read(place.job)
        if found is not None and not _is_of(found, step):
            raise NoJob(_taken(place, found)) from refused
        log.info("job_adopted", job=place.name, step=step.name, attempt=step.attempt)
    else:
        log.info("job_created", job=place.name, step=step.name, attempt=step.attempt)


async def delete(api: Kubernetes, place: Place, making: "asyncio.Future[None]") -> None:
    """Delete the Job, however long the API server is away. What is being created is deleted afterwards."""
    await asyncio.wait({making})
    if making.cancelled() or making.exception() is not None:
        return
    tries = 0
    while True:
        try:
            log.info("job_deleted", job=place.name, there=await api.delete(place.job))
        except ApiUnavailable as error:
            tries += 1
            log.warning("job_undeleted", job=place.name, tries=tries, reason=str(error))
            await asyncio.sleep(pause(tries))
        except (ApiRefused, NoCluster) as error:
            log.warning("job_left", job=place.name, reason=str(error))
            return
        else:
            return


async def sweep(api: Kubernetes, namespace: str, run_id: UUID, keys: Collection[str]) -> None:
    """Delete the Jobs with these idempotency keys that have not ended, however long the API server is away."""
    tries = 0
    while True:
        try:
            for name in await _unfinished(api, namespace, run_id, keys):
                there = await api.delete(Place(namespace, name).job)
                log.info("job_swept", job=name, run=str(run_id), there=there)
        except ApiUnavailable as error:
            tries += 1
            log.warning("jobs_unswept", run=str(run_id), tries=tries, reason=str(error))
            await asyncio.sleep(pause(tries))
        except (ApiRefused, NoCluster) as error:
            log.warning("jobs_left", run=str(run_id), namespace=namespace, reason=str(error))
            return
        else:
            return


async def _unfinished(api: Kubernetes, namespace: str, run_id: UUID, keys: Collection[str]) -> list[str]:
    listed = await api.read(Place(namespace, "").jobs, labelSelector=f"{RUN_ID}={run_id}") or {}
    return [
        str(job["metadata"]["name"])
        for job in listed.get("items", ())
        if job["metadata"].get("annotations", {}).get(KEY) in keys and not _over(job)
    ]


def _over(job: Json) -> bool:
    """Whether the Job has ended by itself; then it stays for people, as long as its ttl says."""
    conditions = job.get("status", {}).get("conditions", ())
    return any(each.get("type") in ("Complete", "Failed") and each.get("status") == "True" for each in conditions)


def _may_be_gone(step: StepContext, ttl: float, now: datetime) -> bool:
    """Whether an earlier runner's Job of this try can have been there, ended, and been tidied up."""
    if step.taken_over is None:
        return False
    has_said = step.logged_until is not None and step.logged_until >= step.taken_over
    return has_said or now - step.taken_over > timedelta(seconds=ttl)


def _is_of(job: Json, step: StepContext) -> bool:
    metadata = job["metadata"]
    key, run_id = metadata.get("annotations", {}).get(KEY), metadata.get("labels", {}).get(RUN_ID)
    return bool(key == step.idempotency_key and run_id == str(step.key.run_id))


def _lost(place: Place) -> StepError:
    message = (
        f"no runner was there while the Job {place.name} of this try may have run, and it is gone: by its"
        " ttlSecondsAfterFinished, or deleted. It may have had its effect, so it is not made again but by a retry"
    )
    return StepError(ErrorType.EVICTED, message, reason="JobLost", details={"job": place.name})


def _taken(place: Place, job: Json) -> StepError:
    labels = job["metadata"].get("labels", {})
    key = job["metadata"].get("annotations", {}).get(KEY, "")
    owner = labels.get("app.kubernetes.io/managed-by", "nobody that its labels name")
    message = (
        f"the Job {place.name} in namespace {place.namespace} is not this step's: it is managed by {owner},"
        f" and its annotation {KEY} is '{key}'; it is left as it is. Look who made it, and delete it"
    )
    return StepError(ErrorType.KUBERNETES, message, reason="NameTaken", retriable=False, details={"job": place.name})
