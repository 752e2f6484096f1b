-- Runs that steps of other runs have started. Older programs bear it: to them a child is a run like others.
alter table leat.run
  add column parent_id    uuid,                              -- not a foreign key: both are in one partition, and go together
  add column parent_name  text,
  add column parent_scope integer,                           -- of the step that started it
  add column parent_step  integer,
  add column parent_try   integer,                           -- of that step: attempt - broken_off
  add column depth        smallint not null default 0,       -- runs above it
  add column children     integer not null default 0,        -- runs that its steps have started
  add column awaited      boolean not null default false,    -- the parent's step waits for it, and does not know its end yet
  add column hidden       text[];                            -- sensitive in other runs, which gave it to this one

create index run_parent on leat.run (parent_id) where parent_id is not null;
create index run_awaited on leat.run (parent_id) where awaited;

-- The Workflows of the cluster, so that steps find them while the operator and the API server are away.
create table leat.workflow (
  namespace  text not null,
  name       text not null,
  uid        text not null,
  created_at timestamptz not null,                           -- of the resource: a later one of the same name is newer
  generation bigint not null,
  revision   text,                                           -- the current one; null when the spec is wrong
  problem    text,                                           -- then: why
  primary key (namespace, name),
  check ((revision is null) = (problem is not null))
);
