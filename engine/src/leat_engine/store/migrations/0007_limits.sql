-- What holds steps and runs back. Only those that have limits touch these.

-- One row per try that has a limit, from when it asks until it is over; step 0, try 0: the run itself. A try is an attempt
-- with those that go on for it after its runner's death: it keeps its slot, which nobody else could know to be free.
create table leat.turn (
  run_id    uuid not null,
  scope     integer not null,
  step_id   integer not null,
  try       integer not null,                                -- attempt - broken_off
  attempt   integer not null,                                -- that asked last
  namespace text not null,
  key       text,                                            -- of its concurrency limit; null when it has none
  capacity  integer,                                         -- of that limit, as its own workflow states it
  priority  smallint not null default 0,
  opened_at timestamptz not null,                            -- who is older comes first
  held      boolean not null default false,                  -- it has one of the limit's slots
  due_at    timestamptz,                                     -- when its token is due
  begun_at  timestamptz,                                     -- it passed all limits: what is claimed again goes on
  primary key (run_id, scope, step_id, try),
  check (key is null = (capacity is null)),
  check (not held or key is not null)
);
create index turn_held on leat.turn (namespace, key) where held;
create index turn_line on leat.turn (namespace, key, priority desc, opened_at, run_id, scope, step_id) where not held and key is not null;

-- A turn stands as long as its try is live: whatever ends that, frees its slot.
create view leat.turn_now as
select t.*, coalesce(r.phase < 4, false) and (t.step_id = 0 or s.state is not null) as stands,
  coalesce(r.suspended and r.stopping is null, false) as suspended
from leat.turn t
left join leat.run r on r.id = t.run_id
left join leat.step s on t.step_id > 0 and s.run_id = t.run_id and s.scope = t.scope and s.id = t.step_id
  and s.attempt - s.broken_off = t.try and s.state between 1 and 3;

-- A token bucket by its two clocks, in seconds since 1970: see `leat_engine.bucket`.
create table leat.bucket (
  namespace text not null,
  key       text not null,
  line      float8 not null,
  spent     float8 not null,
  primary key (namespace, key)
);

-- A breaker: see `leat_engine.fuse`. One without failures has no row.
create table leat.breaker (
  namespace  text not null,
  key        text not null,
  failures   float8[] not null default '{}',
  open_until float8,
  cool_down  float8 not null,
  run_id     uuid,                                           -- of the attempt that was let through half-open
  scope      integer,
  step_id    integer,
  attempt    integer,
  primary key (namespace, key)
);

create table leat.cache (
  namespace  text not null,
  key        text not null,
  output     json,
  run_id     uuid not null,                                  -- whose result it is
  expires_at timestamptz not null,
  primary key (namespace, key)
);
create index cache_expired on leat.cache (expires_at);
