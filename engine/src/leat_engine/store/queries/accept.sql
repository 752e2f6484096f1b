-- accept: runs enter the store, once, whatever is delivered twice.
--   runs   $1 id $2 namespace $3 name $4 workflow $5 revision $6 uid $7 generation $8 suspended $9 priority $10 inputs
--          $11 total $12 live $13 traceparent $14 timeout seconds
--          $15 pool
--   roots  $16 run $17 step $18 pool
-- Where a quota limits runs, they are held: `admit` lets them begin.
with new as (
  insert into leat.run (id, namespace, name, workflow, revision, uid, generation, suspended, priority, inputs, total, live, traceparent, pool,
    held, timeout)
  select u.id, u.namespace, u.name, u.workflow, u.revision, u.uid, u.generation, u.suspended, u.priority, u.inputs, u.total, u.live, u.traceparent, u.pool,
    case when q.namespace is not null then '' end, case when q.namespace is not null then u.timeout end
  from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::boolean[],
    $9::smallint[], $10::json[], $11::int[], $12::int[], $13::text[], $14::float8[], $15::text[])
    as u(id, namespace, name, workflow, revision, uid, generation, suspended, priority, inputs, total, live, traceparent, timeout, pool)
  left join leat.quota q on q.namespace = u.namespace and (q.active_runs is not null or q.starts_per_minute is not null)
  on conflict (id) do nothing
  returning id, namespace, suspended, priority, held
), root as (
  select n.id as run_id, r.step, r.pool, n.priority, n.suspended or n.held is not null as suspended
  from unnest($16::uuid[], $17::int[], $18::text[]) as r(run_id, step, pool) join new n on n.id = r.run_id
), opened as (
  insert into leat.step (run_id, scope, id, state, attempt, opened_at, queued_at) select run_id, 0, step, 1, 1, now(), now() from root
), rdy as (
  insert into leat.ready (run_id, scope, step_id, attempt, pool, priority, suspended)
  select run_id, 0, step, 1, pool, priority, suspended from root
), timed as (
  insert into leat.timer (run_id, scope, step_id, attempt, due_at, pool)
  select n.id, 0, 0, 0, now() + make_interval(secs => t.timeout), ''
  from unnest($1::uuid[], $14::float8[]) as t(run_id, timeout) join new n on n.id = t.run_id where t.timeout is not null and n.held is null
)
select id, namespace, held is not null as held from new;
