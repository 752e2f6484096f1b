-- delay: claimed attempts wait for a time, without a slot; a retry becomes the next attempt.
--   $1 runner  $2 run  $3 scope  $4 step  $5 attempt  $6 error (of a failed attempt, else null)  $7 seconds  $8 pool
--   $9 epoch of the run
-- A run that is being stopped delays nothing: its steps are missing from the answer.
with me as materialized (
  select id from leat.runner where id = $1 and alive for key share
), locked as materialized (
  select r.id, r.epoch from leat.run r, me where r.id = any($2::uuid[]) and r.stopping is null order by r.id for no key update of r
), late as (
  select d.* from unnest($2::uuid[], $3::int[], $4::int[], $5::int[], $6::json[], $7::float8[], $8::text[], $9::int[])
    as d(run_id, scope, step, attempt, error, seconds, pool, epoch) join locked l on l.id = d.run_id and l.epoch = d.epoch
), heard as materialized (           -- locked, so that this is the newest word: a signal that came meanwhile makes it due at once
  select l.run_id, l.scope, l.step_id, l.called from late d
  join leat.listener l on l.run_id = d.run_id and l.scope = d.scope and l.step_id = d.step
  where d.error is null for no key update of l
), before as materialized (
  select s.run_id, s.scope, s.id, s.attempt, s.runner, s.queued_at, s.started_at, d.error, d.pool,
    case when h.called then 0 else d.seconds end as seconds
  from late d join leat.step s on s.run_id = d.run_id and s.scope = d.scope and s.id = d.step
    and s.attempt = d.attempt and s.state = 2 and s.runner = $1
  left join heard h on h.run_id = d.run_id and h.scope = d.scope and h.step_id = d.step
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
