-- reorder: the ready steps of a run take its priority.  $1 run  $2 priority.  The caller holds the run's lock.
with moved as (
  update leat.ready set priority = $2, published_at = now() where run_id = $1 and priority <> $2
  returning run_id, scope, step_id, attempt, pool, priority, suspended
), seats as (
  update leat.seat set priority = $2 where run_id = $1 and priority <> $2
)
select run_id, scope, step_id, attempt, pool, priority from moved where not suspended;
