-- leftover_artifacts: objects of attempts that did not count, or never got there.  $1 how many
select a.run_id, a.scope, a.step_id, a.attempt, a.name, a.key from leat.artifact a
join leat.step s on s.run_id = a.run_id and s.scope = a.scope and s.id = a.step_id
where not a.settled and (s.state > 4 or (s.state = 4 and a.size is null)
  -- What a container puts may still come, and be that of the next attempt, until its step is over (`inherit_artifact`).
  or (s.attempt > a.attempt and (s.state = 4 or split_part(a.key, '/', 5) not like 't%')))
limit $1;
