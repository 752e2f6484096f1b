-- cleanup: how far a run is that cleans up; nothing when how it ends is not settled.  $1 run
-- What has been undone is taken off the list.
with head as materialized (
  select u.place, u.scope, u.step_id, s.state, s.error from leat.undo u
  left join leat.step s on s.run_id = u.run_id and s.scope = u.scope and s.id = u.step_id
  where u.run_id = $1 order by u.place limit 2
), undone as (
  delete from leat.undo u using head h where u.run_id = $1 and u.place = h.place and h.state in (4, 6, 8)
)
select r.outcome, r.output, r.error, b.body, b.size, b.opened, b.settled, b.failed, b.target, b.base, b.shut,
  h.scope as undo_scope, h.step_id as undo_step, h.state as undo_state, h.error as undo_error, f.state as final_state, f.error as final_error
from leat.run r join leat.block b on b.run_id = r.id and b.scope = 0 and b.step_id = 0
left join lateral (select * from head where (state in (4, 6, 8)) is not true order by place limit 1) h on true
left join leat.step f on f.run_id = r.id and f.scope = b.base and f.id = -1 and f.state >= 4
where r.id = $1 and r.outcome is not null;
