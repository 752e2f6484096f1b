-- migrate: a run goes on by another revision.  The caller holds the run's lock, and nobody has a claim in it.
--   $1 run  $2 revision  $3 inputs  $4 more steps  $5 live  $6 pool  $7 resume
--   ready   $8 scope $9 node $10 attempt $11 pool $12 fresh
--   counted $13 scope $14 node $15 needs $16 missing
-- Ready steps are as if they had been published long ago: whoever resends does so at once.
with was as materialized (
  select revision from leat.run where id = $1
), r as (
  update leat.run set revision = $2, epoch = epoch + 1, inputs = $3, total = greatest(1, least(total::bigint + $4, 2147483647))::int, live = $5,
    pool = $6, suspended = suspended and not $7
  where id = $1 returning id, epoch, uid, priority, suspended or held is not null as suspended
), told as (
  insert into leat.migrated (run_id, epoch, from_revision, to_revision) select r.id, r.epoch, was.revision, $2 from r, was
), steps as (
  insert into leat.step (run_id, scope, id, state, attempt, needs, waiting, opened_at, queued_at)
  select $1::uuid, scope, node, 1, attempt, 0, 0, now(), now()
  from unnest($8::int[], $9::int[], $10::int[], $12::boolean[]) as d(scope, node, attempt, fresh) where fresh
  union all
  select $1::uuid, scope, node, 0, 0, needs, missing, null, null
  from unnest($13::int[], $14::int[], $15::int[], $16::int[]) as c(scope, node, needs, missing)
), rdy as (
  insert into leat.ready (run_id, scope, step_id, attempt, pool, priority, suspended, published_at)
  select r.id, d.scope, d.node, d.attempt, d.pool, r.priority, r.suspended, 'epoch'::timestamptz
  from r, unnest($8::int[], $9::int[], $10::int[], $11::text[]) as d(scope, node, attempt, pool)
  returning run_id, scope, step_id, attempt, pool, priority, suspended
), behind as (
  insert into leat.report (run_id) select id from r where uid is not null
  on conflict (run_id) do update set version = nextval('leat.report_version')
)
select r.epoch, d.* from r left join rdy d on not d.suspended;
