-- wake: due timers make their steps ready.  $1 limit
-- Whether a run is suspended is read under its lock; a run that is being changed is left to the next round.
with due as materialized (
  select t.run_id, t.scope, t.step_id, t.attempt, t.pool, r.priority, r.suspended and r.stopping is null as suspended
  from leat.timer t join leat.run r on r.id = t.run_id
  where t.due_at <= now() and t.step_id > 0 order by t.due_at limit $1
  for update of t skip locked for share of r skip locked
), gone as (
  delete from leat.timer t using due d where t.run_id = d.run_id and t.scope = d.scope and t.step_id = d.step_id
), woken as (
  update leat.step s set state = 1, queued_at = now() from due d
  where s.run_id = d.run_id and s.scope = d.scope and s.id = d.step_id and s.attempt = d.attempt and s.state = 3
  returning s.run_id, s.scope, s.id, s.attempt
), rdy as (
  insert into leat.ready (run_id, scope, step_id, attempt, pool, priority, suspended)
  select w.run_id, w.scope, w.id, w.attempt, d.pool, d.priority, d.suspended
  from woken w join due d on d.run_id = w.run_id and d.scope = w.scope and d.step_id = w.id
  returning run_id, scope, step_id, attempt, pool, priority, suspended
)
select run_id, scope, step_id, attempt, pool, priority from rdy where not suspended;
