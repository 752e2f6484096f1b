-- withhold: the ready steps of a run may not be claimed, or may be again.  $1 run  $2 suspended.  The caller holds the run's lock.
-- Those of a run that a quota holds stay withheld.
update leat.ready d set suspended = $2 or r.held is not null, published_at = now() from leat.run r
where r.id = $1 and d.run_id = $1 and d.suspended <> ($2 or r.held is not null)
returning d.run_id, d.scope, d.step_id, d.attempt, d.pool, d.priority;
