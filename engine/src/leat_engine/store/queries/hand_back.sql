-- hand_back: claims that were not begun are ready again, as the same attempt.  $1 runner  $2 run  $3 scope  $4 step  $5 attempt
with me as materialized (
  select id, pool from leat.runner where id = $1 and alive for key share
), locked as materialized (
  select r.id, r.priority, r.suspended and r.stopping is null as suspended from leat.run r, me where r.id = any($2::uuid[]) order by r.id for no key update of r
), back as (
  update leat.step s set state = 1, runner = null, started_at = null
  from unnest($2::uuid[], $3::int[], $4::int[], $5::int[]) as b(run_id, scope, step, attempt) join locked l on l.id = b.run_id
  where s.run_id = b.run_id and s.scope = b.scope and s.id = b.step and s.attempt = b.attempt and s.state = 2 and s.runner = $1
  returning s.run_id, s.scope, s.id, s.attempt
), rdy as (
  insert into leat.ready (run_id, scope, step_id, attempt, pool, priority, suspended)
  select b.run_id, b.scope, b.id, b.attempt, me.pool, l.priority, l.suspended from back b join locked l on l.id = b.run_id, me
  returning run_id, scope, step_id, attempt, pool, priority, suspended
)
select run_id, scope, step_id, attempt, pool, priority from rdy where not suspended;
