-- resend: ready rows that were published long ago and nobody claimed.  $1 pool  $2 seconds  $3 limit
with old as (
  select run_id, scope, step_id from leat.ready
  where pool = $1 and not suspended and published_at < now() - make_interval(secs => $2)
  order by priority desc, run_id limit $3 for update skip locked
)
update leat.ready d set published_at = now() from old o
where d.run_id = o.run_id and d.scope = o.scope and d.step_id = o.step_id
returning d.run_id, d.scope, d.step_id, d.attempt, d.pool, d.priority;
