-- copy_artifacts: a run that is being accepted has those of the steps that it keeps of an old one.  $1 run  $2 old run  $3 steps, null for all
-- The objects stay the old run's, and go with it.
insert into leat.artifact (run_id, scope, step_id, attempt, name, namespace, key, content_type, size, sha256, settled)
select $1, a.scope, a.step_id, a.attempt, a.name, a.namespace, a.key, a.content_type, a.size, a.sha256, true
from leat.artifact a
join leat.step s on s.run_id = a.run_id and s.scope = a.scope and s.id = a.step_id and s.attempt = a.attempt and s.state = 4
where a.run_id = $2 and ($3::int[] is null or a.scope = 0 and a.step_id = any($3::int[])) and a.size is not null
on conflict do nothing;
