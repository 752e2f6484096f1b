-- last: the END of a stopped run that has no live step.  $1 run  $2 runner that takes it, or null for the queue
with one as (
  update leat.run set live = 1 where id = $1 and live = 0 and phase < 4 returning id, priority, pool
), put as (
  insert into leat.step as s (run_id, scope, id, state, attempt, runner, opened_at, queued_at, started_at)
  select id, 0, 0, case when $2::int is null then 1 else 2 end, 1, $2::int, now(), now(), case when $2::int is not null then now() end from one
  on conflict (run_id, scope, id) do update set state = excluded.state, attempt = 1, waiting = 0, runner = excluded.runner,
    opened_at = now(), queued_at = now(), started_at = excluded.started_at
  returning s.run_id
), rdy as (
  insert into leat.ready (run_id, scope, step_id, attempt, pool, priority)
  select o.id, 0, 0, 1, o.pool, o.priority from one o where $2::int is null
)
select priority, pool, 1 as attempt from one;
