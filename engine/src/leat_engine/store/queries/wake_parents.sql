-- wake_parents: steps that wait for child runs which are over go on; for the caller to publish.  $1 children
-- A step that is just being parked has no timer yet: whoever parks it asks again afterwards. Lock order: run (by id),
-- timer, step, ready; what `wake` is about to wake is left to it.
with over as materialized (
  select c.parent_id as run_id, c.parent_scope as scope, c.parent_step as step, c.parent_try as try
  from leat.run c where c.id = any($1::uuid[]) and c.awaited and c.finished_at is not null
), locked as materialized (
  select r.id, r.priority, r.suspended and r.stopping is null as suspended from leat.run r
  where r.id = any(array(select run_id from over)) order by r.id for share of r
), timed as materialized (
  select t.run_id, t.scope, t.step_id, t.attempt, t.pool, l.priority, l.suspended
  from over o join locked l on l.id = o.run_id
  join leat.step s on s.run_id = o.run_id and s.scope = o.scope and s.id = o.step and s.state = 3
    and s.attempt - s.broken_off = o.try
  join leat.timer t on t.run_id = s.run_id and t.scope = s.scope and t.step_id = s.id and t.attempt = s.attempt
  for update of t skip locked
), untimed as (
  delete from leat.timer t using timed d where t.run_id = d.run_id and t.scope = d.scope and t.step_id = d.step_id
), woken as (
  update leat.step s set state = 1, queued_at = now() from timed d
  where s.run_id = d.run_id and s.scope = d.scope and s.id = d.step_id and s.attempt = d.attempt and s.state = 3
  returning s.run_id, s.scope, s.id, s.attempt
), rdy as (
  insert into leat.ready (run_id, scope, step_id, attempt, pool, priority, suspended)
  select w.run_id, w.scope, w.id, w.attempt, d.pool, d.priority, d.suspended
  from woken w join timed d on d.run_id = w.run_id and d.scope = w.scope and d.step_id = w.id
  returning run_id, scope, step_id, attempt, pool, priority, suspended
)
select run_id, scope, step_id, attempt, pool, priority from rdy where not suspended;
