-- How long steps take, folded out of runs now and then. Nothing of the hot path reads or writes these; older programs bear them.
create table leat.duration (
  namespace  text not null,
  workflow   text not null,
  step       text not null,                                  -- its path: see `leat_engine.durations`
  kind       text not null,
  facts      json not null,                                  -- counts that fade, and buckets of seconds
  updated_at timestamptz not null default now(),
  primary key (namespace, workflow, step)
);

-- Up to which run everything was looked at. One row: whoever folds has its lock.
create table leat.folding (
  one  boolean primary key default true check (one),
  upto uuid not null
);
insert into leat.folding (upto) values ('00000000-0000-0000-0000-000000000000');

-- Runs before that one which were not over when they were looked at.
create table leat.unfolded (
  run_id    uuid primary key,
  looked_at timestamptz not null default now()
);
create index unfolded_order on leat.unfolded (looked_at);
