-- settle_artifacts: those that count, now that their steps are over.  $1 how many
with settled as (
  select a.run_id, a.scope, a.step_id, a.attempt, a.name from leat.artifact a
  join leat.step s on s.run_id = a.run_id and s.scope = a.scope and s.id = a.step_id and s.attempt = a.attempt and s.state = 4
  where not a.settled and a.size is not null limit $1
)
update leat.artifact a set settled = true from settled s
where a.run_id = s.run_id and a.scope = s.scope and a.step_id = s.step_id and a.attempt = s.attempt and a.name = s.name;
