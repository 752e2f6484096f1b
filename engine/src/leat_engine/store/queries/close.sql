-- close: a step has heard enough; what comes later is not for it.  $1 runner  $2 run  $3 scope  $4 step  $5 attempt
-- The caller holds the run's lock.
with mine as materialized (
  select run_id from leat.step
  where run_id = $2 and scope = $3 and id = $4 and attempt = $5 and state = 2 and runner = $1
)
update leat.listener l set closed = true from mine m where l.run_id = m.run_id and l.scope = $3 and l.step_id = $4;
