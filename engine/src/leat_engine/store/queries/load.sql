-- load: how steps of runs ended.  $1 run  $2 scope  $3 step
select s.run_id, s.scope, s.id, s.state, s.output, s.error
from unnest($1::uuid[], $2::int[], $3::int[]) as w(run_id, scope, step)
join leat.step s on s.run_id = w.run_id and s.scope = w.scope and s.id = w.step
where s.state >= 4;
