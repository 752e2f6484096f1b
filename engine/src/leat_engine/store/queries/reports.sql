-- reports: runs whose resource is behind, oldest first, with a step that waits for something.  $1 limit
select p.version, r.*, w.id as waiting_step, w.note as waiting
from leat.report p join leat.run r on r.id = p.run_id
left join lateral (
  select s.id, s.note from leat.step s
  where r.noted and s.run_id = r.id and s.note is not null and (s.state in (2, 3) or s.state = 1 and s.note like 'quota of the namespace%')
  order by s.scope, s.id limit 1
) w on true
order by p.version limit $1;
