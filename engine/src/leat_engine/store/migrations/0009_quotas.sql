-- Quotas of namespaces. Only the runs and steps of a namespace that has one meet these. An older program takes no notice.

-- What all quotas of a namespace allow together; null: that word says nothing. A row stays when its quotas have gone.
create table leat.quota (
  namespace         text primary key,
  active_runs       integer check (active_runs >= 0),
  starts_per_minute integer check (starts_per_minute >= 0),
  steps             integer check (steps >= 0),
  spent             float8 not null default 0                -- of the bucket of starts: see `leat_engine.quota`
);

-- Whether a run counts is a fact of the run itself, so nothing can be lost, or counted twice, when somebody dies.
alter table leat.run
  add column held        text,                               -- why its first steps are withheld ('' until that is known)
  add column timeout     float8,                             -- of a run that was held: seconds from when it was admitted
  add column admitted_at timestamptz;                        -- of a run that was held
create index run_active on leat.run (namespace) where finished_at is null and held is null;
create index run_held on leat.run (namespace, priority desc, created_at, id) where finished_at is null and held is not null;
create index run_unsaid on leat.run (namespace) where finished_at is null and held = '';
create index run_admitted on leat.run (namespace, admitted_at) where admitted_at is not null;

-- One row per step that has asked for a seat of its namespace, until it is over.
create table leat.seat (
  run_id    uuid not null,
  scope     integer not null,
  step_id   integer not null,
  namespace text not null,
  priority  smallint not null,
  opened_at timestamptz not null,                            -- who is older comes first
  held      boolean not null,                                -- it has a seat; else it waits for one
  primary key (run_id, scope, step_id)
);
create index seat_held on leat.seat (namespace) where held;
create index seat_line on leat.seat (namespace, priority desc, opened_at, run_id, scope, step_id) where not held;

-- A seat stands while its step is claimed, or ready to be: whatever ends, parks or suspends the step frees it.
create view leat.seat_now as
select t.*, coalesce(s.state = 2 or s.state = 1 and not (r.suspended and r.stopping is null), false) as stands,
  coalesce(s.state = 1 and not (r.suspended and r.stopping is null), false) as back,
  coalesce(s.state >= 4, true) as over
from leat.seat t
left join leat.run r on r.id = t.run_id
left join leat.step s on s.run_id = t.run_id and s.scope = t.scope and s.id = t.step_id;
