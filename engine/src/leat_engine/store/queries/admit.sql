-- admit: the first runs that a quota holds begin; the others are told why they wait.
--   $1 namespace  $2 how many  $3 why the others wait  $4 now, and $5 seconds between two starts, of the bucket
-- The caller holds the lock of the namespace's runs. A run that is being changed is left to the next time. Their time, and
-- that of their first steps, begins now.
with next as materialized (
  select id from leat.run
  where namespace = $1 and finished_at is null and held is not null and stopping is null and not suspended
  order by priority desc, created_at, id limit $2 for no key update skip locked
), free as (
  update leat.run r set held = null, admitted_at = clock_timestamp() from next n where r.id = n.id
  returning r.id, r.uid, r.timeout
), told as (
  update leat.run r set held = $3
  where r.namespace = $1 and r.finished_at is null and r.held = '' and (r.id in (select id from next)) is not true
  returning r.id, r.uid
), spent as (
  update leat.quota set spent = greatest(spent, $4::float8) + $5::float8 * (select count(*) from free) where namespace = $1
), opened as (
  update leat.step s set opened_at = now(), queued_at = now() from free f where s.run_id = f.id and s.scope = 0 and s.state = 1
), timed as (
  insert into leat.timer (run_id, scope, step_id, attempt, due_at, pool)
  select id, 0, 0, 0, now() + make_interval(secs => timeout), '' from free where timeout is not null
), rdy as (
  update leat.ready d set suspended = false, published_at = now() from free f where d.run_id = f.id
  returning d.run_id, d.scope, d.step_id, d.attempt, d.pool, d.priority
), behind as (
  insert into leat.report (run_id)
  select id from free where uid is not null union all select id from told where uid is not null
  on conflict (run_id) do update set version = nextval('leat.report_version')
)
select * from rdy;
