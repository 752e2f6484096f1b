"""Rows to records, and records to the columns of statements."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from leat_engine.job import Job, StepKey, dumps, traceparent_of
from leat_engine.lines import LogLine
from leat_engine.pools import Announced
from leat_engine.quota import QUOTA
from leat_engine.records import (
    AttemptRecord,
    Claim,
    Interrupted,
    Lineage,
    NewRun,
    Revision,
    RunRecord,
    ShownAttempt,
    ShownStep,
    StepRecord,
)
from leat_engine.restraint import CACHED
from leat_engine.result import Phase, State
from leat_engine.store.writes import Opened, Outcome, Written

_NOTED = (State.CLAIMED, State.DELAYED)
"""States in which a step waits for what its note says."""


def written_of(rows: Sequence[asyncpg.Record]) -> Written:
    """What a commit statement answered."""
    written = Written()
    for run_id, scope, step, attempt, state, stopping in rows:
        if step is None:
            written.runs[run_id] = Outcome(Phase(state), None if stopping is None else Phase(stopping))
        else:
            granted = written.claimed if state == State.CLAIMED else written.readied
            granted.setdefault((run_id, scope), {})[step] = attempt
    return written


def opened_of(rows: Sequence[asyncpg.Record]) -> Opened:
    """What an `open` statement answered."""
    opened = Opened()
    for run_id, scope, step, state, attempt, base in rows:
        if base is not None:
            opened.bases[StepKey(run_id, scope, step)] = base
        if state == State.CLAIMED:
            opened.claimed.setdefault((run_id, scope), {})[step] = attempt
        elif state == State.READY:
            opened.readied.setdefault((run_id, scope), {})[step] = attempt
    return opened


def accept_columns(runs: Sequence[NewRun]) -> list[list[Any]]:
    """Columns of `accept.sql`."""
    return [
        [run.run_id for run in runs],
        [run.namespace for run in runs],
        [run.name for run in runs],
        [run.workflow for run in runs],
        [run.revision for run in runs],
        [run.uid for run in runs],
        [run.generation for run in runs],
        [run.suspended for run in runs],
        [run.priority for run in runs],
        [dumps(run.inputs) for run in runs],
        [run.total for run in runs],
        [len(run.roots) for run in runs],
        [run.traceparent or traceparent_of(run.run_id) for run in runs],
        [run.timeout for run in runs],
        [run.pool for run in runs],
        [run.run_id for run in runs for _ in run.roots],
        [root.step for run in runs for root in run.roots],
        [root.pool for run in runs for root in run.roots],
    ]


def lineage_columns(lineage: Lineage) -> tuple[UUID, str, list[int], list[int], list[int], list[int]]:
    """Parameters of `keep.sql` behind the run."""
    return (
        lineage.of,
        lineage.name,
        list(lineage.kept),
        [join.step for join in lineage.joins],
        [join.needs for join in lineage.joins],
        [join.missing for join in lineage.joins],
    )


def root_jobs(run: NewRun) -> tuple[Job, ...]:
    """Jobs of a run's first steps; none while it is suspended."""
    if run.suspended:
        return ()
    return tuple(
        Job(StepKey(run.run_id, 0, root.step), 1, root.pool, run.priority, run.traceparent) for root in run.roots
    )


def key_columns(jobs: Sequence[Job]) -> tuple[list[UUID], list[int], list[int], list[int]]:
    """Addresses and attempts of jobs, as columns."""
    return (
        [job.key.run_id for job in jobs],
        [job.key.scope for job in jobs],
        [job.key.step for job in jobs],
        [job.attempt for job in jobs],
    )


def json_of(text: str | None) -> Any:
    """The value of a json column."""
    return None if text is None else orjson.loads(text)


def job_of(row: asyncpg.Record) -> Job:
    """A row of `ready`."""
    key = StepKey(row["run_id"], row["scope"], row["step_id"])
    return Job(key, row["attempt"], row["pool"], row["priority"])


def claim_of(row: asyncpg.Record) -> Claim:
    """A row of `claim.sql` or `mine.sql`."""
    return Claim(
        key=StepKey(row["run_id"], row["scope"], row["id"]),
        attempt=row["attempt"],
        broken_off=row["broken_off"],
        lost=row["lost"],
        resumed=row["resumed"],
        opened_at=row["opened_at"],
        queued_at=row["queued_at"],
        started_at=row["started_at"],
        namespace=row["namespace"],
        name=row["name"],
        workflow=row["workflow"],
        revision=row["revision"],
        inputs=json_of(row["inputs"]),
        priority=row["priority"],
        traceparent=row["traceparent"],
        live=row["live"],
        stopping=None if row["stopping"] is None else Phase(row["stopping"]),
        error=json_of(row["error"]),
        done=row["done"],
        uid=row["uid"],
        outcome=None if row["outcome"] is None else Phase(row["outcome"]),
        awaited=row["awaited"],
        hidden=tuple(row["hidden"] or ()),
        epoch=row["epoch"],
        shut=row["shut"],
    )


def interrupted_of(row: asyncpg.Record) -> Interrupted:
    """A row of `interrupted.sql`."""
    stopping = None if row["stopping"] is None else Phase(row["stopping"])
    shut = tuple(range(scopes.lower, scopes.upper) for scopes in row["shut"] or ())
    return Interrupted(row["run_id"], stopping, json_of(row["error"]), shut)


def run_of(row: asyncpg.Record) -> RunRecord:
    """A row of `run`."""
    phase = Phase(row["phase"])
    if row["held"] is not None and row["stopping"] is None and not phase.done:
        phase = Phase.PENDING
    return RunRecord(
        run_id=row["id"],
        namespace=row["namespace"],
        name=row["name"],
        workflow=row["workflow"],
        revision=row["revision"],
        uid=row["uid"],
        generation=row["generation"],
        phase=Phase.SUSPENDED if row["suspended"] and not phase.done else phase,
        suspended=row["suspended"],
        stopping=None if row["stopping"] is None else Phase(row["stopping"]),
        inputs=json_of(row["inputs"]),
        output=json_of(row["output"]),
        error=json_of(row["error"]),
        priority=row["priority"],
        total=row["total"],
        live=row["live"],
        succeeded=row["succeeded"],
        failed=row["failed"],
        skipped=row["skipped"],
        started_at=row["admitted_at"] or row["created_at"],
        finished_at=row["finished_at"],
        noted=row["noted"],
        rerun_of=row["rerun_of_name"],
        outcome=None if row["outcome"] is None else Phase(row["outcome"]),
        parent=row["parent_name"],
        children=row["children"],
        hidden=tuple(row["hidden"] or ()),
        epoch=row["epoch"],
        held=row["held"],
    )


def step_of(row: asyncpg.Record) -> StepRecord:
    """A row of `step`."""
    return StepRecord(
        key=StepKey(row["run_id"], row["scope"], row["id"]),
        state=State(row["state"]),
        attempt=row["attempt"],
        output=json_of(row["output"]),
        error=json_of(row["error"]),
        runner=row["runner"],
        queued_at=row["queued_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        note=row["note"] if _speaks(row["state"], row["note"] or "") else None,
    )


def _speaks(state: int, note: str) -> bool:
    """Whether a note still tells something: one that was parked and is ready again waits for nothing but a runner."""
    return state in _NOTED or note == CACHED or (state == State.READY and note.startswith(QUOTA))


def attempt_of(row: asyncpg.Record) -> AttemptRecord:
    """A row of `attempt`."""
    return AttemptRecord(
        key=StepKey(row["run_id"], row["scope"], row["step_id"]),
        attempt=row["attempt"],
        runner=row["runner"],
        error=json_of(row["error"]),
        queued_at=row["queued_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def line_of(row: asyncpg.Record) -> LogLine:
    """A row of `log`."""
    return LogLine(row["seq"], row["at"], row["scope"], row["step_id"], row["attempt"], row["stream"], row["text"])


def shown_step_of(row: asyncpg.Record) -> ShownStep:
    """A row of `show_steps.sql`."""
    return ShownStep(step_of(row), row["runner_name"], row["output_bytes"] or 0)


def shown_attempt_of(row: asyncpg.Record) -> ShownAttempt:
    """A row of `show_attempts.sql`."""
    return ShownAttempt(attempt_of(row), row["runner_name"])


def revision_of(row: asyncpg.Record) -> Revision:
    """A row of `revision`."""
    return Revision(row["id"], row["namespace"], row["workflow"], json_of(row["spec"]))


def announced_of(row: asyncpg.Record) -> Announced:
    """A row of `pool`."""
    kinds, functions = frozenset(row["kinds"]), frozenset(row["functions"])
    return Announced(row["name"], row["revision"], kinds, functions, row["slots"], row["announced_at"])
