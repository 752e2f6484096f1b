-- keep: a run that is being accepted keeps ends of an old one. Values stay within the store.
--   $1 run  $2 old run  $3 its name  $4 steps that are kept
--   joins  $5 step  $6 needs  $7 missing
-- An attempt of a kept step is what it was in the old run: whoever reads the new one sees when it was made.
with kept as (
  insert into leat.step (run_id, scope, id, state, attempt, needs, output, error, opened_at, queued_at, started_at, finished_at)
  select $1, 0, o.id, o.state, o.attempt, o.needs, o.output, o.error, o.opened_at, o.queued_at, o.started_at, o.finished_at
  from unnest($4::int[]) as k(step) join leat.step o on o.run_id = $2 and o.scope = 0 and o.id = k.step
  where o.state in (4, 6, 8)
  returning state
), joined as (
  insert into leat.step (run_id, scope, id, state, needs, waiting)
  select $1, 0, j.step, 0, j.needs, j.missing from unnest($5::int[], $6::int[], $7::int[]) as j(step, needs, missing)
), counted as (
  select count(*)::int as kept, count(*) filter (where state = 4)::int as succeeded from kept
)
update leat.run r set rerun_of = $2, rerun_of_name = $3, succeeded = c.succeeded, skipped = c.kept - c.succeeded
from counted c where r.id = $1
returning c.kept;
