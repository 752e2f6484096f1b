-- How far the schedules of Workflows are settled: each moment up to `settled_at` was run, or was not to be.
create table leat.trigger (
  namespace  text not null,
  workflow   text not null,
  name       text not null,
  uid        text not null,                 -- of the Workflow: another one of the same name begins anew
  settled_at timestamptz not null,
  fired_at   timestamptz,                   -- the moment of the last run
  primary key (namespace, workflow, name)
);
