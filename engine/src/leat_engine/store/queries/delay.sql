-- delay: claimed attempts wait for a time, without a slot; a retry becomes the next attempt.
--   $1 runner  $2 run  $3 scope  $4 step  $5 attempt  $6 error (of a failed attempt, else null)  $7 seconds  $8 pool
-- A run that is being stopped delays nothing: its steps are missing from the answer.
with me as materialized (
  select id from leat.runner where id = $1 and alive for key share
), locked as materialized (
  select r.id from leat.run r, me where r.id = any($2::uuid[]) and r.stopping is null order by r.id for no key update of r
), late as (
  select d.* from unnest($2::uuid[], $3::int[], $4::int[], $5::int[], $6::json[], $7::float8[], $8::text[])
    as d(run_id, scope, step, attempt, error, seconds, pool) join locked l on l.id = d.run_id
), before as materialized (
  select s.run_id, s.scope, s.id, s.attempt, s.runner, s.queued_at, s.started_at, d.error, d.seconds, d.pool
  from late d join leat.step s on s.run_id = d.run_id and s.scope = d.scope and s.id = d.step
    and s.attempt = d.attempt and s.state = 2 and s.runner = $1
), kept as (
  insert into leat.attempt (run_id, scope, step_id, attempt, runner, error, queued_at, started_at)
  select run_id, scope, id, attempt, runner, error, queued_at, started_at from before where error is not null
), put as (
  update leat.step s set state = 3, runner = null, note = case when b.error is null then s.note end,
    attempt = case when b.error is null then s.attempt else s.attempt + 1 end,
    parked_until = case when b.error is null then now() + make_interval(secs => b.seconds) end
  from before b where s.run_id = b.run_id and s.scope = b.scope and s.id = b.id
  returning s.run_id, s.scope, s.id, s.attempt, b.seconds, b.pool
), timed as (
  insert into leat.timer (run_id, scope, step_id, attempt, due_at, pool)
  select run_id, scope, id, attempt, now() + make_interval(secs => seconds), pool from put
), behind as (
  insert into leat.report (run_id) select distinct r.id from put p join leat.run r on r.id = p.run_id where r.uid is not null
  on conflict (run_id) do update set version = nextval('leat.report_version')
)
select run_id, scope, id as step_id, attempt, seconds from put;
