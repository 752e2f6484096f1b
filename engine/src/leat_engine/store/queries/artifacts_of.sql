-- artifacts_of: what counts of steps that have succeeded: their last attempt's.  $1 run  $2 scope  $3 step
select a.run_id, a.scope, a.step_id, a.name, a.key, a.content_type, a.size, a.sha256
from unnest($1::uuid[], $2::int[], $3::int[]) as w(run_id, scope, step)
join leat.step s on s.run_id = w.run_id and s.scope = w.scope and s.id = w.step and s.state = 4
join leat.artifact a on a.run_id = s.run_id and a.scope = s.scope and a.step_id = s.id and a.attempt = s.attempt and a.size is not null
order by a.name;
