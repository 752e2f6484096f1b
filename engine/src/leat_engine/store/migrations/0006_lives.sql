-- Runs that go on from others: which one, and by which name people knew it.
alter table leat.run
  add column rerun_of uuid,                                  -- not a foreign key: the old run may be pruned before
  add column rerun_of_name text;
