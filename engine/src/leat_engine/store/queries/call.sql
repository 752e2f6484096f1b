-- call: the Workflow that a step calls, and for how long the step has been there.  $1 namespace  $2 name  $3 run  $4 scope  $5 step
select w.revision, w.problem, coalesce(extract(epoch from now() - s.opened_at), 0)::float8 as waited
from leat.step s left join leat.workflow w on w.namespace = $1 and w.name = $2
where s.run_id = $3 and s.scope = $4 and s.id = $5;
