-- mine: every claim of this runner, to be compared with what it knows after a lost answer.  $1 runner
select s.run_id, s.scope, s.id, s.attempt, s.broken_off, s.lost, s.parked_until is not null as resumed, s.opened_at, s.queued_at, s.started_at,
  r.namespace, r.name, r.workflow, r.revision, r.inputs, r.priority, r.traceparent, r.live, r.stopping, r.error, r.uid, r.outcome, r.awaited, r.hidden,
  r.epoch, r.succeeded + r.failed + r.skipped as done, coalesce(r.shut @> s.scope, false) as shut
from leat.hold h join leat.step s on s.run_id = h.run_id and s.runner = h.runner and s.state = 2 join leat.run r on r.id = h.run_id
where h.runner = $1;
