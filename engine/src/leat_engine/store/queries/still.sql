-- still: how many steps run yet inside of a body that is shut; their runners are told to interrupt them.  $1 run  $2 scope  $3 step
-- The caller holds the run's lock, and has shut the body with a statement of its own: what was claimed at that time is seen here.
-- Where none runs, none can begin: the scopes have not to be watched any more.
with recursive within as (
  select base, size, settled, opened from leat.block where run_id = $1 and scope = $2 and step_id = $3
  union all
  select b.base, b.size, b.settled, b.opened from within w
  join leat.block b on b.run_id = $1 and b.scope >= w.base + w.settled and b.scope < w.base + w.opened
), running as materialized (
  select s.runner from within w
  join leat.step s on s.run_id = $1 and s.scope >= w.base + w.settled and s.scope < w.base + w.opened and s.state between 1 and 3
), told as (
  insert into leat.interrupt (runner, run_id, partly) select distinct runner, $1::uuid, true from running where runner is not null
  on conflict do nothing
), open as (
  update leat.run r set shut = nullif(r.shut - (select range_agg(int4range(base, base + size)) from within), '{}')
  where r.id = $1 and r.shut is not null and not exists (select from running)
)
select count(*)::int as running from running;
