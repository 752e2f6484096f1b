-- What runs have to do when their steps are over: compensations, and `finally`.
alter table leat.run
  add column outcome smallint check (outcome in (4, 5, 6));   -- how the run ends, once that is settled; what is left is its cleanup

-- What is still to be undone, in this order. A row goes when its compensation has ended well.
create table leat.undo (
  run_id  uuid not null,
  place   integer not null,
  scope   integer not null,
  step_id integer not null,                                  -- the compensation
  primary key (run_id, place)
) partition by range (run_id);
