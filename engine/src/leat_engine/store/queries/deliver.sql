-- deliver: a signal enters a run, and the steps that wait for it are due.
--   $1 run  $2 signal  $3 name  $4 payload  $5 approve  $6 comment  $7 by  $8 scope and $9 step that a vote is for
-- The caller holds the run's lock, and took it with a statement of its own. A step that is about to park has no timer yet:
-- `delay` looks whether it was called. `wake` does the rest.
with new as (
  insert into leat.signal (run_id, id, name, payload, approve, comment, sent_by, scope, step_id)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (run_id, id) do nothing returning run_id
), called as (
  update leat.listener l set called = true from new n
  where l.run_id = n.run_id and not l.closed and l.name = $3 and l.approval = ($5 is not null)
    and ($9 is null or (l.scope, l.step_id) = ($8, $9))
  returning l.run_id, l.scope, l.step_id
)
update leat.timer t set due_at = now() from called c
where t.run_id = c.run_id and t.scope = c.scope and t.step_id = c.step_id and t.step_id > 0
returning t.step_id;
