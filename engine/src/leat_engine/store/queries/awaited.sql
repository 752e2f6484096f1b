-- awaited: the steps of runs that wait for something from outside.  $1 runs
select l.run_id, l.scope, l.step_id, l.name, l.approval, l.rule
from leat.listener l join leat.step s on s.run_id = l.run_id and s.scope = l.scope and s.id = l.step_id
where l.run_id = any($1::uuid[]) and not l.closed and s.state between 1 and 3 order by l.run_id, l.scope, l.step_id;
