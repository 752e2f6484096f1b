-- shut: the body of a step has taken too long: nothing begins in it any more, and the step looks what still runs.
--   $1 run  $2 scope  $3 step
-- The caller holds the run's lock. Nothing in a run that is being stopped, and of a step that is over. A step that is just being
-- looked after stays due: it may be about to wait. Twice is once. Scopes before `settled` are over as a whole.
with recursive within as (
  select scope, step_id, base, size, settled, opened from leat.block where run_id = $1 and scope = $2 and step_id = $3
  union all
  select b.scope, b.step_id, b.base, b.size, b.settled, b.opened from within w
  join leat.block b on b.run_id = $1 and b.scope >= w.base + w.settled and b.scope < w.base + w.opened
), opener as materialized (
  select s.state, s.attempt, r.uid, r.pool, r.priority, r.suspended from leat.run r
  join leat.step s on s.run_id = r.id and s.scope = $2 and s.id = $3 and s.state < 4
  where r.id = $1 and r.phase < 4 and r.stopping is null
), marked as (
  update leat.block b set shut = true, due_at = case when o.state = 2 and (b.scope, b.step_id) = ($2, $3) then b.due_at end
  from within w, opener o where b.run_id = $1 and b.scope = w.scope and b.step_id = w.step_id
), readied as (
  delete from leat.ready d using within w, opener
  where d.run_id = $1 and d.scope >= w.base and d.scope < w.base + w.opened returning d.scope, d.step_id
), timed as (
  delete from leat.timer t using within w, opener
  where t.run_id = $1 and t.scope >= w.base and t.scope < w.base + w.opened returning t.scope, t.step_id
), off as (
  update leat.step s set state = 7, finished_at = now() from (select * from readied union select * from timed) x
  where s.run_id = $1 and s.scope = x.scope and s.id = x.step_id and s.state in (1, 3)
  returning s.id
), never as (                        -- joins, and steps with bodies that wait for these
  update leat.step s set state = 7, finished_at = now() from within w, opener
  where s.run_id = $1 and s.scope >= w.base + w.settled and s.scope < w.base + w.opened and s.state = 0
  returning s.id
), untimed as (
  delete from leat.timer t using opener where t.run_id = $1 and t.scope = $2 and t.step_id = $3
), up as (                           -- parked, so that it keeps the time of its start
  update leat.step s set state = 1, runner = null, queued_at = now(), parked_until = now() from opener o
  where s.run_id = $1 and s.scope = $2 and s.id = $3 and o.state in (0, 3)
  returning s.attempt
), rdy as (
  insert into leat.ready (run_id, scope, step_id, attempt, pool, priority, suspended)
  select $1, $2, $3, up.attempt, o.pool, o.priority, o.suspended from up, opener o
  returning attempt, pool, priority, suspended
), counted as (
  update leat.run r set
    shut    = coalesce(r.shut, '{}') + (select range_agg(int4range(base, base + size)) from within),
    live    = r.live - (select count(*) from off)::int + (select count(*) from up)::int - (o.state = 3)::int,
    skipped = r.skipped + (select count(*) from (select id from off union all select id from never) x where id > 0)::int
  from opener o where r.id = $1 and exists (select from within)
), behind as (
  insert into leat.report (run_id) select $1 from opener where uid is not null
  on conflict (run_id) do update set version = nextval('leat.report_version')
)
select $1 as run_id, $2 as scope, $3 as step_id, attempt, pool, priority from rdy where not suspended;
