-- Bodies: which scopes of a run were opened by which step. The item, iteration or case i of a block has the scope base + i.
create table leat.block (
  run_id  uuid not null,
  scope   integer not null,                                  -- of the step that opened it
  step_id integer not null,                                  -- that step
  base    integer not null,                                  -- its first scope
  size    integer not null check (size > 0),                 -- how many scopes it may open
  body    integer not null,                                  -- which body of the plan they execute
  opened  integer not null,                                  -- scopes opened so far
  settled integer not null default 0,                        -- all scopes before this one are over
  failed  integer not null default 0,                        -- how many of these failed
  target  integer not null,                                  -- the opener goes on when so many are over
  primary key (run_id, scope, step_id)
) partition by range (run_id);
create index block_base on leat.block (run_id, base);

alter table leat.run add column scopes integer not null default 0;  -- the last number given to a scope

-- An open block counts down too, and past zero while its step is busy: what was counted then is not lost.
alter table leat.step drop constraint step_waiting_check;
