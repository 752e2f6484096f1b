-- reports: runs whose resource is behind, oldest first, with a step that waits for something.  $1 limit
-- However many runs there are, each is looked up: the planner takes the list, which is empty mostly, for a long one.
with behind as materialized (
  select run_id, version from leat.report order by version limit $1
)
select p.version, r.*, w.id as waiting_step, w.note as waiting
from behind p cross join lateral (select * from leat.run where id = p.run_id limit 1) r
left join lateral (
  select s.id, s.note from leat.step s
  where r.noted and s.run_id = r.id and s.note is not null and (s.state in (2, 3) or s.state = 1 and s.note like 'quota of the namespace%')
  order by s.scope, s.id limit 1
) w on true
order by p.version;
