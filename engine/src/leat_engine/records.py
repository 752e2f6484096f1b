"""What goes into the store and what comes out: rows as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from leat_engine.job import Job, StepKey
from leat_engine.result import Phase, State


@dataclass(frozen=True, slots=True)
class Root:
    """A step that is ready as soon as its run is accepted."""

    step: int
    pool: str


@dataclass(frozen=True, slots=True)
class Join:
    """A step that waits for ``missing`` of its ``needs``, when its run is accepted: the others are done already."""

    step: int
    needs: int
    missing: int


@dataclass(frozen=True, slots=True)
class Lineage:
    """The old run that a new one goes on from.

    Attributes:
        of: Its id; ``name``: what people know it by.
        kept: Steps whose ends are copied from it.
        joins: Steps that some of these lead to.
        cleanup: Everything is copied, and what was not undone is still to be; nothing else runs.
    """

    of: UUID
    name: str
    kept: tuple[int, ...]
    joins: tuple[Join, ...]
    cleanup: bool = False


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run about to enter the store.

    Attributes:
        uid: The resource's uid, or None when no resource stands for this run; only runs with one are reported.
        inputs: Validated, defaults applied.
        total: Steps of the plan.
        pool: Whose runners evaluate the end of the run: that of the plan's `END`.
        timeout: Seconds from now until the run is stopped, or None.
        traceparent: W3C trace context that the run was started in, or "".
        lineage: The run that it goes on from, or None; then ``roots`` are the steps that begin now.
    """

    run_id: UUID
    namespace: str
    name: str
    workflow: str
    revision: str
    inputs: Mapping[str, Any]
    roots: tuple[Root, ...]
    total: int
    pool: str = "default"
    uid: str | None = None
    generation: int = 1
    priority: int = 0
    suspended: bool = False
    timeout: float | None = None
    traceparent: str = ""
    lineage: Lineage | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What accepting a run did. ``created`` is False when the store had it already; then there are no jobs."""

    run_id: UUID
    created: bool
    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """Why and how a run is to end before its time.

    Attributes:
        phase: FAILED or CANCELLED.
        interrupt: Whether running steps are interrupted (cancel, run timeout) or may end (failure).
        error: Error as data.
    """

    phase: Phase
    interrupt: bool
    error: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as people read it.

    Attributes:
        live: Steps that are ready, claimed or delayed.
        started_at: When it was accepted; when it began, if a quota had held it.
        noted: Some step of it has waited for something: look at the notes of the running ones.
        rerun_of: Name of the run that it goes on from.
        outcome: How it ends, once that is settled and only its cleanup is left.
        parent: Name of the run that has a step which started it.
        children: How many runs its steps have started.
        hidden: Texts that are sensitive in other runs, which gave them to this one.
        epoch: How often it was migrated to another revision.
        held: Why a quota of its namespace does not let it begin yet, or "" until that is known; None once it may.
    """

    run_id: UUID
    namespace: str
    name: str
    workflow: str
    revision: str
    uid: str | None
    generation: int
    phase: Phase
    suspended: bool
    stopping: Phase | None
    inputs: Mapping[str, Any]
    output: Any
    error: Mapping[str, Any] | None
    priority: int
    total: int
    live: int
    succeeded: int
    failed: int
    skipped: int
    started_at: datetime
    finished_at: datetime | None
    noted: bool = False
    rerun_of: str | None = None
    outcome: Phase | None = None
    parent: str | None = None
    children: int = 0
    hidden: tuple[str, ...] = ()
    epoch: int = 0
    held: str | None = None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step as people read it: its last attempt. ``attempt`` 0 means that it never became ready.

    Attributes:
        note: What it waits for, or that it was spared; None otherwise.
    """

    key: StepKey
    state: State
    attempt: int
    output: Any
    error: Mapping[str, Any] | None
    runner: int | None
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """An attempt that was followed by another one."""

    key: StepKey
    attempt: int
    runner: int | None
    error: Mapping[str, Any]
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class ShownStep:
    """A step with the name of its runner, and its output if that is small.

    Attributes:
        runner: None when nobody has it, or nobody knows the runner any more.
        output_bytes: Of the output's JSON, also when it is left out.
    """

    record: StepRecord
    runner: str | None
    output_bytes: int


@dataclass(frozen=True, slots=True)
class ShownAttempt:
    """An attempt that was followed by another one, with the name of its runner."""

    record: AttemptRecord
    runner: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """A run whose resource is behind the store. ``version`` goes back with `Reports.told`.

    Attributes:
        waiting: A running step that waits for something, and for what; with ``waiting_step`` 0 there is none.
    """

    version: int
    run: RunRecord
    failures: tuple[StepRecord, ...] = field(default=())
    waiting_step: int = 0
    waiting: str = ""


@dataclass(frozen=True, slots=True)
class Revision:
    """One immutable version of a workflow, named by the hash of its canonical spec."""

    id: str
    namespace: str
    workflow: str
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """A step that is this runner's now, with what the store says of its run.

    Attributes:
        broken_off: Earlier attempts that ended with their runner; lost: of these, with a dead one.
        resumed: It was parked before, and its time has come.
        live: Live steps of the run; done: steps of the run that are over.
        uid: Of the resource that stands for the run.
        outcome: How the run ends, once that is settled and it cleans up.
        awaited: A step of another run waits for the end of this one; hidden: as in `RunRecord`.
        epoch: How often the run was migrated to another revision.
        shut: A body around it takes too long: it is not begun.
    """

    key: StepKey
    attempt: int
    broken_off: int
    lost: int
    resumed: bool
    opened_at: datetime
    queued_at: datetime
    started_at: datetime
    namespace: str
    name: str
    workflow: str
    revision: str
    inputs: Mapping[str, Any]
    priority: int
    traceparent: str
    live: int
    stopping: Phase | None
    error: Mapping[str, Any] | None
    done: int
    uid: str | None = None
    outcome: Phase | None = None
    awaited: bool = False
    hidden: tuple[str, ...] = ()
    epoch: int = 0
    shut: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """The scopes that a step opens, one after the other: index i is the scope ``base`` + i.

    Attributes:
        base: 0 until the store has given it.
        size: How many there may be.
        body: The number of the body that they execute.
        opened: How many were opened so far.
        settled: All before this one are over; failed: how many of those failed.
        target: The step goes on when so many are over.
        shut: It has taken too long: nothing is opened any more, and the step fails when nothing runs inside.
    """

    body: int
    size: int
    opened: int = 0
    settled: int = 0
    failed: int = 0
    target: int = 0
    base: int = 0
    shut: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a scope is: within which one, the index of which body."""

    scope: int
    parent: int
    body: int
    index: int


@dataclass(frozen=True, slots=True)
class Delayed:
    """An attempt that waits: its next attempt number, and the seconds until it is due."""

    key: StepKey
    attempt: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A run whose running steps are to be interrupted, and why.

    Attributes:
        stopping: The phase that it is to end with; None when only steps in these scopes, which are ``shut``, are meant.
    """

    run_id: UUID
    stopping: Phase | None
    error: Mapping[str, Any] | None
    shut: tuple[range, ...] = ()


@dataclass(frozen=True, slots=True)
class Dead:
    """A runner that was declared dead."""

    id: int
    name: str
