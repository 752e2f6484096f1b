-- commit: write what was decided about the steps that ended, for any runs, in one statement.
--   $1 runner
--   ended steps    $2 run  $3 scope  $4 step  $5 attempt  $6 state  $7 output  $8 error
--   steps to come  $9 run  $10 scope $11 step $12 state   $13 needs $14 missing $15 pool $16 priority $17 output $18 error
--   ended runs     $19 run $20 phase $21 output $22 error
--   ended steps    $23 epoch of the run
-- $2 to $23 are array literals, as text. Lock order: runner, run (by id), step, ready. Returns per run of the batch that was applied one row (step null), and
-- one per step to come that is ready or claimed.
-- Joins are pinned to index look-ups, so sets of this batch meet by hashed `in`; `is true` keeps it from being a join.
with me as materialized (            -- rescue flips `alive` under this row's lock: a commit is wholly before it or refused
  select id from leat.runner where id = $1 and alive for key share
), locked as materialized (
  select r.id, r.stopping, r.suspended, r.priority, r.epoch, r.shut from leat.run r, me
  where r.id = any($2::text::uuid[]) and r.phase < 4 order by r.id for no key update of r
), ended as materialized (
  select * from unnest($2::text::uuid[], $3::text::int[], $4::text::int[], $5::text::int[], $6::text::smallint[], $7::text::json[], $8::text::json[],
      $23::text::int[]) as e(run_id, scope, step, attempt, state, output, error, epoch)
), not_mine as materialized (
  select e.run_id from ended e
  left join leat.step s on s.run_id = e.run_id and s.scope = e.scope and s.id = e.step
    and s.attempt = e.attempt and s.state = 2 and s.runner = $1
  where s.run_id is null or ((e.run_id, e.epoch) in (select id, epoch from locked)) is not true  -- a replay from before a migration
), good as materialized (            -- a run's part is applied whole, or not at all: fenced, or a replay
  select l.* from locked l where l.id not in (select run_id from not_mine)
), fin as (
  update leat.step s set state = e.state, output = e.output, error = e.error, finished_at = now()
  from ended e
  where s.run_id = e.run_id and s.scope = e.scope and s.id = e.step and (e.run_id in (select id from good)) is true
    and s.attempt = e.attempt and s.state = 2 and s.runner = $1  -- once more: this row is as it is now, `not_mine` saw it as it was
  returning s.run_id, s.id, s.state
), come as materialized (
  select c.*, (c.run_id in (select id from good where suspended)) is true as suspended
  from unnest($9::text::uuid[], $10::text::int[], $11::text::int[], $12::text::smallint[], $13::text::int[], $14::text::int[], $15::text::text[], $16::text::smallint[],
      $17::text::json[], $18::text::json[]) as c(run_id, scope, step, state, needs, missing, pool, priority, output, error)
  where (c.run_id in (select id from good where stopping is null)) is true  -- nothing new starts in a stopping run
    and (c.scope = 0 or ((c.run_id in (select id from good where shut is not null)) is true
      and exists (select from good g where g.id = c.run_id and g.shut @> c.scope)) is not true)  -- nor in a body that is shut
), nxt as (
  insert into leat.step as s
    (run_id, scope, id, state, attempt, needs, waiting, runner, output, error, opened_at, queued_at, started_at, finished_at)
  select run_id, scope, step,
    case when missing > 0 then 0 when state >= 4 then state when state = 2 and not suspended then 2 else 1 end,
    case when missing > 0 or state in (6, 8) then 0 else 1 end,
    needs, missing, case when state = 2 and not suspended then $1::int end, output, error,
    case when missing = 0 and state < 4 then now() end,
    case when missing = 0 and state < 4 then now() end,
    case when missing = 0 and state = 2 and not suspended then now() end,
    case when missing = 0 and state >= 4 then now() end
  from come
  on conflict (run_id, scope, id) do update set              -- a counted step: add the arrivals up; one that is busy only counts
    waiting     = case when s.attempt = 0 then greatest(0, s.waiting - excluded.needs + excluded.waiting) else s.waiting - excluded.needs + excluded.waiting end,
    state       = case when s.state <> 0 then s.state
                       when s.waiting - excluded.needs + excluded.waiting > 0 then 0
                       when excluded.state >= 4 then excluded.state
                       when excluded.runner is not null then 2 else 1 end,
    attempt     = case when s.state <> 0 or s.waiting - excluded.needs + excluded.waiting > 0 then s.attempt
                       when excluded.state >= 4 then excluded.attempt else greatest(s.attempt, 1) end,
    runner      = case when s.state <> 0 then s.runner else excluded.runner end,
    output      = case when s.state <> 0 then s.output else excluded.output end,
    error       = case when s.state <> 0 then s.error else excluded.error end,
    opened_at   = case when s.state = 0 and s.waiting - excluded.needs + excluded.waiting <= 0 and excluded.state < 4 then coalesce(s.opened_at, now()) else s.opened_at end,
    queued_at   = case when s.state = 0 and s.waiting - excluded.needs + excluded.waiting <= 0 and excluded.state < 4 then now() else s.queued_at end,
    started_at  = case when s.state = 0 and s.waiting - excluded.needs + excluded.waiting <= 0 and excluded.runner is not null then coalesce(s.started_at, now()) else s.started_at end,
    finished_at = case when s.state <> 0 then s.finished_at else excluded.finished_at end
  -- of the live steps, only those that have become so now: `queued_at` is the time of this statement
  returning s.run_id, s.scope, s.id, s.attempt, case when s.state between 1 and 3 and s.queued_at <> now() then 0 else s.state end as state
), rdy as (
  insert into leat.ready (run_id, scope, step_id, attempt, pool, priority, suspended)
  select c.run_id, c.scope, c.step,
    coalesce((select greatest(s.attempt, 1) from leat.step s where s.run_id = c.run_id and s.scope = c.scope and s.id = c.step), 1),
    c.pool,
    coalesce(((select jsonb_object_agg(id, priority) from good where priority > 0) ->> c.run_id::text)::smallint, 0),  -- what the runner knows may be old
    c.suspended from come c
  where ((c.run_id, c.scope, c.step) in (select run_id, scope, id from nxt where state = 1)) is true
), sums as (
  select run_id, sum(live)::int as live,
    count(*) filter (where state = 4 and id > 0)::int as succeeded,
    count(*) filter (where state = 5 and id > 0)::int as failed,
    count(*) filter (where state in (6, 7, 8) and id > 0)::int as skipped,
    coalesce(bool_or(id = 0 and state >= 4), false) as over,
    max(phase) as phase, max(output)::json as output, max(error)::json as error
  from (select run_id, id, state, -1 as live, null::smallint as phase, null::text as output, null::text as error from fin
        union all select run_id, id, state, case when state between 1 and 3 then 1 else 0 end, null, null, null from nxt
        union all select o.*  from (select run_id, null::int, null::smallint, 0, phase, output, error
          from unnest($19::text::uuid[], $20::text::smallint[], $21::text::text[], $22::text::text[]) as o(run_id, phase, output, error)) o) m
  group by run_id having count(state) > 0
), cnt as (
  update leat.run r set
    live        = r.live + s.live + (r.stopping is not null and not r.ending and r.live + s.live = 0 and not s.over)::int,
    ending      = r.ending or (r.stopping is not null and r.live + s.live = 0 and not s.over),
    succeeded   = r.succeeded + s.succeeded,
    failed      = r.failed + s.failed,
    skipped     = r.skipped + s.skipped,
    phase       = case when s.over then coalesce(r.stopping, s.phase) else r.phase end,
    output      = case when s.over and r.stopping is null then s.output when not s.over then r.output end,  -- settled before a cleanup
    error       = case when not s.over then r.error when r.outcome is null then coalesce(r.error, s.error) else coalesce(s.error, r.error) end,
    finished_at = case when s.over then now() end
  from sums s where r.id = s.run_id
  returning r.id, r.live, r.ending, r.stopping, r.phase, r.uid
), last as (                         -- the last step of a stopped run is over: this runner goes on with its END
  insert into leat.step as s (run_id, scope, id, state, attempt, needs, waiting, runner, opened_at, queued_at, started_at)
  select id, 0, 0, 2, 1, 0, 0, $1, now(), now(), now() from cnt where ending and live = 1 and phase < 4
  on conflict (run_id, scope, id) do update set state = 2, attempt = 1, waiting = 0, runner = $1,
    opened_at = now(), queued_at = now(), started_at = now()
  returning s.run_id, s.scope, s.id, s.attempt, s.state
), freed as (
  delete from leat.hold h using cnt where h.run_id = cnt.id and cnt.phase >= 4
), untimed as (
  delete from leat.timer t using cnt where t.run_id = cnt.id and cnt.phase >= 4
), behind as (
  insert into leat.report (run_id) select id from cnt where uid is not null
  on conflict (run_id) do update set version = nextval('leat.report_version')
)
-- A replay that has waited here for the commit that it replays divides by zero: nothing of it is written. Asked again, it is refused.
select id as run_id, null::int as scope, null::int as step, null::int as attempt, phase as state, stopping from cnt
where 1 / (select (count(*) = (select count(*) from ended where run_id in (select id from good)))::int from fin) = 1
union all select run_id, scope, id, attempt, state, null from nxt where state in (1, 2)
union all select run_id, scope, id, attempt, state, null from last;
