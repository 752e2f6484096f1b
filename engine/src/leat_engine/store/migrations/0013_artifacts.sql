-- What the object store holds of runs: one row per object that an attempt has put there, or was about to.
-- Not split by month, and without a key to `run`: the rows are what is left to remove when the run is gone.
create table leat.artifact (
  run_id       uuid not null,
  scope        integer not null,
  step_id      integer not null,
  attempt      integer not null,
  name         text not null,
  namespace    text not null,
  key          text not null,                                -- of the object; of an older run's where a rerun has kept the step
  content_type text not null,
  size         bigint,                                       -- with sha256: null until it is there as a whole
  sha256       text,
  settled      boolean not null default false,               -- its step is over, and this is what counts
  primary key (run_id, scope, step_id, attempt, name),
  check (size is null = (sha256 is null))
);
create index artifact_unsettled on leat.artifact (run_id) where not settled;
