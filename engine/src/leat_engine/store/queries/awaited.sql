-- awaited: the steps of a run that wait for something from outside.  $1 run
select l.run_id, l.scope, l.step_id, l.name, l.approval, l.rule
from leat.listener l join leat.step s on s.run_id = l.run_id and s.scope = l.scope and s.id = l.step_id
where l.run_id = $1 and not l.closed and s.state between 1 and 3 order by l.scope, l.step_id;
