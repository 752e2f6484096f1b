-- show_steps: steps of a run's own scope that have a row, with the names of their runners. A large output stays here.
-- $1 run  $2 first node  $3 last node  $4 most bytes of an output
select s.run_id, s.scope, s.id, s.state, s.attempt, s.error, s.note, s.runner, s.queued_at, s.started_at, s.finished_at,
  r.name as runner_name, octet_length(s.output::text) as output_bytes,
  case when octet_length(s.output::text) <= $4 then s.output end as output
from leat.step s left join leat.runner r on r.id = s.runner and s.state between 2 and 7
where s.run_id = $1 and s.scope = 0 and s.id between $2 and $3 order by s.id;
