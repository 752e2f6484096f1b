-- Bodies that have a time limit. Older programs refuse the workflows that have some, and touch none of this.
alter table leat.block
  add column due_at timestamptz,                             -- when it is shut; null without a limit, and when that is done
  add column shut   boolean not null default false;          -- it took too long: its opener opens nothing more, and fails
create index block_due on leat.block (due_at) where due_at is not null;

-- Scopes in which nothing begins any more, until the steps around them have failed.
alter table leat.run add column shut int4multirange;

-- Only what runs in scopes that are shut is to be interrupted, not the whole run; told once, and then asked for again.
alter table leat.interrupt add column partly boolean not null default false;
