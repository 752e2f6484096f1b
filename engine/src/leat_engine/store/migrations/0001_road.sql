-- The tables of the road. Partitions by month are made by `store/partitions.py`.
create schema if not exists leat;

create table leat.revision (
  id         text primary key,
  namespace  text not null,
  workflow   text not null,
  spec       json not null,
  created_at timestamptz not null default now()
);

-- One row per run; also the root scope: its counter of live steps is `live`.
create table leat.run (
  id          uuid not null primary key,
  namespace   text not null,
  name        text not null,
  workflow    text not null,
  revision    text not null,
  uid         text,                                          -- of the resource; null when none stands for the run
  generation  bigint not null default 1,                     -- of the resource, as last accepted
  phase       smallint not null default 1 check (phase between 0 and 6),
  suspended   boolean not null default false,                -- nothing is claimed
  stopping    smallint check (stopping in (5, 6)),           -- the phase to end with; nothing new starts
  ending      boolean not null default false,                -- stopping, and its last live step is `END`
  priority    smallint not null default 0 check (priority between 0 and 9),
  pool        text not null,                                 -- whose runners evaluate its END
  inputs      json not null,
  output      json,
  error       json,
  total       integer not null check (total > 0),
  live        integer not null check (live >= 0),            -- steps that are ready, claimed or delayed
  succeeded   integer not null default 0,
  failed      integer not null default 0,
  skipped     integer not null default 0,
  traceparent text not null default '',
  created_at  timestamptz not null default now(),
  finished_at timestamptz,
  check (phase < 4 or live = 0)
) partition by range (id);

create index run_name on leat.run (namespace, name, id);
create index run_open on leat.run (id) where finished_at is null;

-- Rows are made when a first need is done. (scope, id): 0 is the root scope; id 0 is the scope's END.
create table leat.step (
  run_id       uuid not null,
  scope        integer not null,
  id           integer not null,
  state        smallint not null check (state between 0 and 8),
  attempt      integer not null default 0,                   -- fences every write of a claim
  broken_off   smallint not null default 0,                  -- attempts that ended with their runner, dead or stopped
  lost         smallint not null default 0,                  -- of these, with a dead one
  needs        integer not null default 0,
  waiting      integer not null default 0 check (waiting >= 0),
  runner       integer,                                      -- of the claim; meaningless while waiting
  parked_until timestamptz,
  output       json,
  error        json,
  opened_at    timestamptz,                                  -- first queued
  queued_at    timestamptz,
  started_at   timestamptz,
  finished_at  timestamptz,
  primary key (run_id, scope, id)
) partition by range (run_id);

-- Attempts that were followed by another one; the last attempt is in `step`.
create table leat.attempt (
  run_id      uuid not null,
  scope       integer not null,
  step_id     integer not null,
  attempt     integer not null,
  runner      integer,
  error       json not null,
  queued_at   timestamptz,
  started_at  timestamptz,
  finished_at timestamptz not null default now(),
  primary key (run_id, scope, step_id, attempt)
) partition by range (run_id);

-- The outbox: what may be claimed now.
create table leat.ready (
  run_id       uuid not null,
  scope        integer not null,
  step_id      integer not null,
  attempt      integer not null,
  pool         text not null,
  priority     smallint not null default 0,
  suspended    boolean not null default false,
  published_at timestamptz not null default now(),
  primary key (run_id, scope, step_id)
);
create index ready_order on leat.ready (pool, priority desc, run_id) where not suspended;

-- Step 0 of the root scope stands for the run's own timeout.
create table leat.timer (
  run_id  uuid not null,
  scope   integer not null,
  step_id integer not null,
  attempt integer not null,
  due_at  timestamptz not null,
  pool    text not null,
  primary key (run_id, scope, step_id)
);
create index timer_due on leat.timer (due_at);

create table leat.runner (
  id           integer generated always as identity primary key,
  name         text not null,
  pool         text not null,
  alive        boolean not null default true,                -- false for good: a runner that returns gets a new id
  slots        integer not null,
  busy         integer not null default 0,
  started_at   timestamptz not null default now(),
  heartbeat_at timestamptz not null default now()
);

-- Which runner has claims in which run, so that rescue needs no index on the state of steps.
create table leat.hold (
  run_id uuid not null,
  runner integer not null,
  primary key (run_id, runner)
);
create index hold_runner on leat.hold (runner);

-- Runs whose running steps a runner has to interrupt.
create table leat.interrupt (
  runner integer not null,
  run_id uuid not null,
  primary key (runner, run_id)
);

-- Runs whose resource is behind. One row per run, however many commits it coalesces.
create sequence leat.report_version;
create table leat.report (
  run_id  uuid primary key,
  version bigint not null default nextval('leat.report_version')
);
