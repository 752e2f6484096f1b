-- open: claimed steps open scopes of their bodies and wait for them, or look again at once if enough are over by now.
--   $1 runner
--   openers $2 run $3 scope $4 step $5 attempt $6 body $7 size $8 nodes $9 opened $10 settled $11 failed $12 target
--   roots   $13 run $14 scope $15 step (of the opener) $16 index $17 node $18 state $19 pool $20 priority
--   openers $21 epoch of the run $22 seconds that the body may take
-- Scopes are numbered by the run, a range for each opener. `waiting` of an opener is what is missing to its target, ends that
-- were counted while it was busy included. A run that is being stopped opens nothing, nor does what is
-- shut: such openers are missing from the answer.
with me as materialized (
  select id from leat.runner where id = $1 and alive for key share
), locked as materialized (
  select r.id, r.suspended, r.scopes, r.epoch, r.shut from leat.run r, me
  where r.id = any($2::uuid[]) and r.phase < 4 and r.stopping is null order by r.id for no key update of r
), mine as materialized (
  select a.*, l.suspended, l.scopes, b.base as known, coalesce(b.target, 0) as before
  from unnest($2::uuid[], $3::int[], $4::int[], $5::int[], $6::int[], $7::int[], $8::bigint[], $9::int[], $10::int[], $11::int[], $12::int[], $21::int[], $22::float8[])
    as a(run_id, scope, step, attempt, body, size, nodes, opened, settled, failed, target, epoch, seconds)
  join locked l on l.id = a.run_id and l.epoch = a.epoch
  join leat.step s on s.run_id = a.run_id and s.scope = a.scope and s.id = a.step and s.attempt = a.attempt and s.state = 2 and s.runner = $1
  left join leat.block b on b.run_id = a.run_id and b.scope = a.scope and b.step_id = a.step
  where b.shut is not true and (l.shut @> a.scope) is not true
), given as materialized (
  select m.*, coalesce(known, scopes + 1 - size + sum(case when known is null then size else 0 end)
    over (partition by run_id order by scope, step rows unbounded preceding))::int as base
  from mine m
), blocks as (
  insert into leat.block (run_id, scope, step_id, base, size, body, opened, settled, failed, target, due_at)
  select run_id, scope, step, base, size, body, opened, settled, failed, target, now() + make_interval(secs => seconds) from given
  on conflict (run_id, scope, step_id) do update set
    opened = excluded.opened, settled = excluded.settled, failed = excluded.failed, target = excluded.target
), moved as (
  update leat.step s set waiting = s.waiting + g.target - g.before, parked_until = null,
    state = case when s.waiting + g.target - g.before > 0 then 0 else 2 end
  from given g where s.run_id = g.run_id and s.scope = g.scope and s.id = g.step
  returning s.run_id, s.scope, s.id, s.state, s.attempt, g.base
), roots as materialized (
  select g.run_id, g.base + w.index as scope, w.node, w.pool, w.priority, g.suspended, w.state = 2 and not g.suspended as taken
  from unnest($13::uuid[], $14::int[], $15::int[], $16::int[], $17::int[], $18::smallint[], $19::text[], $20::smallint[])
    as w(run_id, scope, step, index, node, state, pool, priority)
  join given g on g.run_id = w.run_id and g.scope = w.scope and g.step = w.step
), put as (
  insert into leat.step (run_id, scope, id, state, attempt, runner, opened_at, queued_at, started_at)
  select run_id, scope, node, case when taken then 2 else 1 end, 1, case when taken then $1::int end, now(), now(), case when taken then now() end
  from roots
), rdy as (
  insert into leat.ready (run_id, scope, step_id, attempt, pool, priority, suspended)
  select run_id, scope, node, 1, pool, priority, suspended from roots where not taken
), counted as (
  update leat.run r set
    scopes = r.scopes + x.numbers,
    total  = least(r.total + x.nodes, 2147483647)::int,
    live   = r.live + (select count(*) from roots o where o.run_id = r.id)::int - (select count(*) from moved m where m.run_id = r.id and m.state = 0)::int
  from (select run_id, sum(case when known is null then size else 0 end)::int as numbers, sum(nodes) as nodes from given group by run_id) x
  where r.id = x.run_id
)
select run_id, scope, id as step, state, attempt, base from moved
union all select run_id, scope, node, case when taken then 2 else 1 end, 1, null from roots where taken or not suspended;
