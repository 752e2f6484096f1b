-- claim: make ready attempts this runner's own.  $1 runner  $2 run  $3 scope  $4 step  $5 attempt
-- Who is too late, or holds an old attempt, or was told of a step that is another pool's by now, gets nothing. Lock order: runner, ready, step.
with me as materialized (
  select id, pool from leat.runner where id = $1 and alive for key share
), wanted as materialized (
  select d.run_id, d.scope, d.step_id, d.attempt
  from unnest($2::uuid[], $3::int[], $4::int[], $5::int[]) as j(run_id, scope, step_id, attempt)
  join leat.ready d on d.run_id = j.run_id and d.scope = j.scope and d.step_id = j.step_id and d.attempt = j.attempt
  cross join me
  where not d.suspended and d.pool = me.pool
  for update of d skip locked
), taken as (
  delete from leat.ready d using wanted w
  where d.run_id = w.run_id and d.scope = w.scope and d.step_id = w.step_id
), won as (
  update leat.step s set state = 2, runner = $1, note = null,
    started_at = case when s.parked_until is null then now() else s.started_at end  -- a parked attempt goes on
  from wanted w
  where s.run_id = w.run_id and s.scope = w.scope and s.id = w.step_id and s.attempt = w.attempt and s.state = 1
  returning s.run_id, s.scope, s.id, s.attempt, s.broken_off, s.lost, s.parked_until is not null as resumed, s.opened_at, s.queued_at, s.started_at
), held as (
  insert into leat.hold (run_id, runner) select distinct run_id, $1::int from won on conflict do nothing
)
select w.*, r.namespace, r.name, r.workflow, r.revision, r.inputs, r.priority, r.traceparent, r.live, r.stopping, r.error, r.uid, r.outcome, r.awaited, r.hidden,
  r.epoch, r.succeeded + r.failed + r.skipped as done, coalesce(r.shut @> w.scope, false) as shut
from won w join leat.run r on r.id = w.run_id;
