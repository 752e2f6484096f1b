-- put_back: claims that got no seat wait as ready steps that nobody may claim, as the same attempts.
--   $1 runner  $2 run  $3 scope  $4 step  $5 attempt  $6 what they wait for, for people
-- Nothing waits in a run that is being stopped: its steps are answered, to be published. Lock order: runner, run, step, ready.
with me as materialized (
  select id, pool from leat.runner where id = $1 and alive for key share
), locked as materialized (
  select r.id, r.uid, r.priority, r.noted, r.stopping is null as waits from leat.run r, me
  where r.id = any($2::uuid[]) order by r.id for no key update of r
), back as (
  update leat.step s set state = 1, runner = null, started_at = null, note = case when l.waits then $6 end
  from unnest($2::uuid[], $3::int[], $4::int[], $5::int[]) as b(run_id, scope, step, attempt) join locked l on l.id = b.run_id
  where s.run_id = b.run_id and s.scope = b.scope and s.id = b.step and s.attempt = b.attempt and s.state = 2 and s.runner = $1
  returning s.run_id, s.scope, s.id, s.attempt
), rdy as (
  insert into leat.ready (run_id, scope, step_id, attempt, pool, priority, suspended)
  select b.run_id, b.scope, b.id, b.attempt, me.pool, l.priority, l.waits from back b join locked l on l.id = b.run_id, me
  returning run_id, scope, step_id, attempt, pool, priority, suspended
), noted as (
  update leat.run r set noted = true from locked l where r.id = l.id and not l.noted
), behind as (
  insert into leat.report (run_id) select l.id from locked l where l.uid is not null
  on conflict (run_id) do update set version = nextval('leat.report_version')
)
select run_id, scope, step_id, attempt, pool, priority from rdy where not suspended;
