-- take_over: a run that is being accepted goes on with what an old one could not undo.  $1 run  $2 old run  $3 its name
-- What it did is copied, scopes and all, but for what is done anew: the compensation that failed, and `finally`.
with old as materialized (
  select r.*, b.base from leat.run r join leat.block b on b.run_id = r.id and b.scope = 0 and b.step_id = 0
  where r.id = $2 and r.finished_at is not null and r.outcome is not null and exists (select from leat.undo u where u.run_id = $2)
), steps as (
  insert into leat.step (run_id, scope, id, state, attempt, needs, output, error, opened_at, queued_at, started_at, finished_at)
  select $1, s.scope, s.id, s.state, s.attempt, s.needs, s.output, s.error, s.opened_at, s.queued_at, s.started_at, s.finished_at
  from old o join leat.step s on s.run_id = o.id
  where s.state >= 4 and (s.scope, s.id) <> (0, 0) and s.scope <> o.base
    and not exists (select from leat.undo u where u.run_id = o.id and u.scope = s.scope and u.step_id = s.id)
  returning id, state
), blocks as (
  insert into leat.block (run_id, scope, step_id, base, size, body, opened, settled, failed, target)
  select $1, b.scope, b.step_id, b.base, b.size, b.body, b.opened, b.settled, b.failed, b.target
  from old o join leat.block b on b.run_id = o.id
  where (b.scope, b.step_id) <> (0, 0) and b.scope <> o.base
    and not exists (select from leat.undo u where u.run_id = o.id and u.scope = b.scope and u.step_id = b.step_id)
  union all select $1, 0, 0, base, 1, 1, 0, 0, 0, 0 from old
), left_over as (
  insert into leat.undo (run_id, place, scope, step_id) select $1, u.place, u.scope, u.step_id from old o join leat.undo u on u.run_id = o.id
  returning place
), counted as (
  select (count(*) filter (where state = 4))::int as succeeded, (count(*) filter (where state = 5))::int as failed,
    (count(*) filter (where state in (6, 7, 8)))::int as skipped
  from steps where id > 0
)
update leat.run r set rerun_of = o.id, rerun_of_name = $3, outcome = o.outcome, error = coalesce(o.error -> 'details' -> 'cause', o.error),
  phase = 3, scopes = o.scopes, succeeded = c.succeeded, failed = c.failed, skipped = c.skipped,
  total = c.succeeded + c.failed + c.skipped + (select count(*) from left_over)::int
from old o, counted c where r.id = $1
returning r.id;
