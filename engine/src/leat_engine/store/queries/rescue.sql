-- rescue: the claims of a dead runner are ready again, as the next attempt.  $1 runner  $2 error  $3 limit of runs
--   $4 lost: 1 when the runner died, 0 when it stopped in good order
with h as (
  delete from leat.hold where (run_id, runner) in (select run_id, runner from leat.hold where runner = $1 order by run_id limit $3)
  returning run_id
), r as materialized (
  select r.id, r.priority, r.suspended and r.stopping is null as suspended, r.noted and r.uid is not null as told from leat.run r join h on h.run_id = r.id order by r.id for no key update of r
), claimed as materialized (
  select s.run_id, s.scope, s.id, s.attempt, s.queued_at, s.started_at
  from r join leat.step s on s.run_id = r.id and s.state = 2 and s.runner = $1
), kept as (
  insert into leat.attempt (run_id, scope, step_id, attempt, runner, error, queued_at, started_at)
  select run_id, scope, id, attempt, $1::int, $2::json, queued_at, started_at from claimed
), again as (
  update leat.step s set state = 1, attempt = s.attempt + 1, broken_off = s.broken_off + 1, lost = s.lost + $4::smallint,
    runner = null, queued_at = now(), started_at = null
  from claimed c where s.run_id = c.run_id and s.scope = c.scope and s.id = c.id
  returning s.run_id, s.scope, s.id, s.attempt
), rdy as (
  insert into leat.ready (run_id, scope, step_id, attempt, pool, priority, suspended)
  select a.run_id, a.scope, a.id, a.attempt, w.pool, r.priority, r.suspended
  from again a join r on r.id = a.run_id, (select pool from leat.runner where id = $1) w
  returning run_id, scope, step_id, attempt, pool, priority, suspended
), behind as (                       -- what a step waited for is not known any more
  insert into leat.report (run_id) select id from r where told
  on conflict (run_id) do update set version = nextval('leat.report_version')
)
select (select count(*) from h) as runs, d.run_id, d.scope, d.step_id, d.attempt, d.pool, d.priority
from (select 1) one left join rdy d on not d.suspended;
