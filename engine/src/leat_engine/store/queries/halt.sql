-- halt: what had not begun in a stopping run never will.  $1 run.  The caller holds the run's lock.
-- Its END, if that is ready already, stays so, and may be claimed even if the run was suspended: `attempt` tells of it.
with readied as (
  delete from leat.ready where run_id = $1 and (scope, step_id) <> (0, 0) returning run_id, scope, step_id
), released as (
  update leat.ready set suspended = false, published_at = now() where run_id = $1 and scope = 0 and step_id = 0
  returning attempt, pool
), timed as (
  delete from leat.timer where run_id = $1 returning run_id, scope, step_id
), undue as (
  update leat.block set due_at = null where run_id = $1 and due_at is not null
), off as (
  update leat.step s set state = 7, finished_at = now()
  from (select * from readied union all select * from timed) x
  where s.run_id = x.run_id and s.scope = x.scope and s.id = x.step_id and (s.scope, s.id) <> (0, 0) and s.state in (1, 3)
  returning s.id
)
update leat.run r set live = r.live - c.n, skipped = r.skipped + c.steps,
  ending = r.ending or r.live = c.n
from (select count(*)::int as n, (count(*) filter (where id > 0))::int as steps from off) c where r.id = $1
returning r.live, r.uid, r.priority, (select attempt from released), (select pool from released);
