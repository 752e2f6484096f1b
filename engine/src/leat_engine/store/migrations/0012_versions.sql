-- Which revisions Workflows have had, and runs that go on by another revision than they began with.

-- How often the run was migrated: what a runner knows of it from before is not gone on with. Older programs neither migrate
-- nor know what was; upgrade all of them before the first run is migrated.
alter table leat.run add column epoch integer not null default 0;

-- A revision is shared by all Workflows that say the same; this says who has had it.
create table leat.version (
  namespace   text not null,
  workflow    text not null,
  revision    text not null,
  applied_at  timestamptz not null default now(),            -- first
  returned_at timestamptz,                                   -- last, when another one had been there in between
  primary key (namespace, workflow, revision)
);

create table leat.migrated (
  run_id        uuid not null,
  epoch         integer not null,                            -- of the run from then on
  from_revision text not null,
  to_revision   text not null,
  migrated_at   timestamptz not null default now(),
  primary key (run_id, epoch)
) partition by range (run_id);
