-- register: a new runner, and what its pool can do: the last word counts.
-- $1 name  $2 pool  $3 slots  $4 revision  $5 kinds, or null to say nothing  $6 functions
with announced as (
  insert into leat.pool (name, revision, kinds, functions, slots)
  select $2, $4, $5::text[], $6::text[], $3 where $5::text[] is not null
  on conflict (name) do update set revision = excluded.revision, kinds = excluded.kinds, functions = excluded.functions,
    slots = excluded.slots, announced_at = now()
)
insert into leat.runner (name, pool, slots) values ($1, $2, $3) returning id;
