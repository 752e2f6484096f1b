-- show_within: steps of these scopes that have a row, with the names of their runners. A large output stays here.
-- $1 run  $2 scopes  $3 most bytes of an output  $4 most rows
select s.run_id, s.scope, s.id, s.state, s.attempt, s.error, s.note, s.runner, s.queued_at, s.started_at, s.finished_at,
  r.name as runner_name, octet_length(s.output::text) as output_bytes,
  case when octet_length(s.output::text) <= $3 then s.output end as output
from leat.step s left join leat.runner r on r.id = s.runner and s.state between 2 and 7
where s.run_id = $1 and s.scope = any($2::int[]) and s.id > 0 order by s.scope, s.id limit $4;
