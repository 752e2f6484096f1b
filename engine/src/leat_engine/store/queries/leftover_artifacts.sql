-- leftover_artifacts: objects of attempts that did not count, or never got there.  $1 how many
select a.run_id, a.scope, a.step_id, a.attempt, a.name, a.key from leat.artifact a
join leat.step s on s.run_id = a.run_id and s.scope = a.scope and s.id = a.step_id
where not a.settled and (s.attempt > a.attempt or s.state > 4 or (s.state = 4 and a.size is null))
limit $1;
