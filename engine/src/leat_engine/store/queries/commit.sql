-- commit: write what was decided about the steps that ended, for any runs, in one statement.
--   $1 runner
--   ended steps    $2 run  $3 scope  $4 step  $5 attempt  $6 state  $7 output  $8 error
--   steps to come  $9 run  $10 scope $11 step $12 state   $13 needs $14 missing $15 pool $16 output $17 error
--   ended runs     $18 run $19 phase $20 output $21 error
-- Lock order: runner, run (by id), step, ready. Returns per run of the batch that was applied one row (step null), and
-- one per step to come that is ready or claimed.
with me as materialized (            -- rescue flips `alive` under this row's lock: a commit is wholly before it or refused
  select id from leat.runner where id = $1 and alive for key share
), locked as materialized (
  select r.id, r.stopping, r.suspended, r.priority, r.uid from leat.run r, me
  where r.id = any($2::uuid[]) and r.phase < 4 order by r.id for no key update of r
), ended as (
  select * from unnest($2::uuid[], $3::int[], $4::int[], $5::int[], $6::smallint[], $7::json[], $8::json[])
    as e(run_id, scope, step, attempt, state, output, error)
), good as materialized (            -- a run's part is applied whole, or not at all: fenced, or a replay
  select l.* from locked l
  join (select e.run_id from ended e
        left join leat.step s on s.run_id = e.run_id and s.scope = e.scope and s.id = e.step
          and s.attempt = e.attempt and s.state = 2 and s.runner = $1
        group by e.run_id having count(*) = count(s.run_id)) h on h.run_id = l.id
), fin as (
  update leat.step s set state = e.state, output = e.output, error = e.error, finished_at = now()
  from ended e join good g on g.id = e.run_id
  where s.run_id = e.run_id and s.scope = e.scope and s.id = e.step
  returning s.run_id, s.id, s.state
), come as materialized (
  select c.*, g.priority, g.suspended, c.state = 2 and not g.suspended as take
  from unnest($9::uuid[], $10::int[], $11::int[], $12::smallint[], $13::int[], $14::int[], $15::text[], $16::json[], $17::json[])
    as c(run_id, scope, step, state, needs, missing, pool, output, error)
  join good g on g.id = c.run_id and g.stopping is null      -- nothing new starts in a run that is being stopped
), nxt as (
  insert into leat.step as s
    (run_id, scope, id, state, attempt, needs, waiting, runner, output, error, opened_at, queued_at, started_at, finished_at)
  select run_id, scope, step,
    case when missing > 0 then 0 when state >= 4 then state when take then 2 else 1 end,
    case when missing > 0 or state in (6, 8) then 0 else 1 end,
    needs, missing, case when take then $1::int end, output, error,
    case when missing = 0 and state < 4 then now() end,
    case when missing = 0 and state < 4 then now() end,
    case when missing = 0 and take then now() end,
    case when missing = 0 and state >= 4 then now() end
  from come
  on conflict (run_id, scope, id) do update set              -- a counted step: add the arrivals up
    waiting     = greatest(0, s.waiting - s.needs + excluded.waiting),
    state       = case when s.waiting - s.needs + excluded.waiting > 0 then 0
                       when excluded.state >= 4 then excluded.state
                       when excluded.runner is not null then 2 else 1 end,
    attempt     = case when s.waiting - s.needs + excluded.waiting > 0 then 0 when excluded.state >= 4 then excluded.attempt else 1 end,
    runner      = excluded.runner, output = excluded.output, error = excluded.error,
    opened_at   = case when s.waiting - s.needs + excluded.waiting <= 0 and excluded.state < 4 then now() end,
    queued_at   = case when s.waiting - s.needs + excluded.waiting <= 0 and excluded.state < 4 then now() end,
    started_at  = case when s.waiting - s.needs + excluded.waiting <= 0 and excluded.runner is not null then now() end,
    finished_at = excluded.finished_at
  returning s.run_id, s.scope, s.id, s.state
), rdy as (
  insert into leat.ready (run_id, scope, step_id, attempt, pool, priority, suspended)
  select n.run_id, n.scope, n.id, 1, c.pool, c.priority, c.suspended
  from nxt n join come c on c.run_id = n.run_id and c.scope = n.scope and c.step = n.id
  where n.state = 1
), sums as (
  select run_id, sum(live)::int as live,
    count(*) filter (where state = 4 and id > 0)::int as succeeded,
    count(*) filter (where state = 5 and id > 0)::int as failed,
    count(*) filter (where state in (6, 7, 8) and id > 0)::int as skipped,
    bool_or(id = 0 and state >= 4) as over
  from (select run_id, id, state, -1 as live from fin
        union all select run_id, id, state, case when state between 1 and 3 then 1 else 0 end from nxt) m
  group by run_id
), cnt as (
  update leat.run r set
    live        = r.live + s.live + (r.stopping is not null and not r.ending and r.live + s.live = 0 and not s.over)::int,
    ending      = r.ending or (r.stopping is not null and r.live + s.live = 0 and not s.over),
    succeeded   = r.succeeded + s.succeeded,
    failed      = r.failed + s.failed,
    skipped     = r.skipped + s.skipped,
    phase       = case when s.over then coalesce(r.stopping, o.phase) else r.phase end,
    output      = case when s.over and r.stopping is null then o.output end,
    error       = case when s.over then coalesce(r.error, o.error) else r.error end,
    finished_at = case when s.over then now() end
  from sums s left join unnest($18::uuid[], $19::smallint[], $20::json[], $21::json[]) as o(run_id, phase, output, error)
    on o.run_id = s.run_id
  where r.id = s.run_id
  returning r.id, r.live, r.ending, r.stopping, r.phase, r.uid
), last as (                         -- the last step of a stopped run is over: this runner goes on with its END
  insert into leat.step as s (run_id, scope, id, state, attempt, needs, waiting, runner, opened_at, queued_at, started_at)
  select id, 0, 0, 2, 1, 0, 0, $1, now(), now(), now() from cnt where ending and live = 1 and phase < 4
  on conflict (run_id, scope, id) do update set state = 2, attempt = 1, waiting = 0, runner = $1,
    opened_at = now(), queued_at = now(), started_at = now()
  returning s.run_id, s.scope, s.id, s.state
), freed as (
  delete from leat.hold h using cnt where h.run_id = cnt.id and cnt.phase >= 4
), untimed as (
  delete from leat.timer t using cnt where t.run_id = cnt.id and cnt.phase >= 4
), behind as (
  insert into leat.report (run_id) select id from cnt where uid is not null
  on conflict (run_id) do update set version = nextval('leat.report_version')
)
select id as run_id, null::int as step, phase as state, stopping from cnt
union all select run_id, id, state, null from nxt where state in (1, 2)
union all select run_id, id, state, null from last;
