-- withhold: the ready steps of a run may not be claimed, or may be again.  $1 run  $2 suspended.  The caller holds the run's lock.
update leat.ready set suspended = $2, published_at = now() where run_id = $1 and suspended <> $2
returning run_id, scope, step_id, attempt, pool, priority;
