-- list_artifacts: what counts of a run, behind a place.  $1 run  $2 scope  $3 step  $4 name  $5 how many; null: all
select a.run_id, a.scope, a.step_id, a.name, a.key, a.content_type, a.size, a.sha256
from leat.artifact a
join leat.step s on s.run_id = a.run_id and s.scope = a.scope and s.id = a.step_id and s.attempt = a.attempt and s.state = 4
where a.run_id = $1 and a.size is not null and (a.scope, a.step_id, a.name) > ($2, $3, $4)
order by a.scope, a.step_id, a.name
limit $5;
