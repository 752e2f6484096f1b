-- dismiss: a step does not take what it was given, and waits on.  $1 runner  $2 run  $3 scope  $4 step  $5 attempt  $6 signal  $7 why
-- The caller holds the run's lock.
with mine as materialized (
  select run_id from leat.step
  where run_id = $2 and scope = $3 and id = $4 and attempt = $5 and state = 2 and runner = $1
), off as (
  update leat.signal g set dismissed = $7 from mine m
  where g.run_id = m.run_id and g.id = $6 and g.scope = $3 and g.step_id = $4 and g.dismissed is null returning g.run_id
)
update leat.listener l set closed = false from off
where l.run_id = off.run_id and l.scope = $3 and l.step_id = $4;
