-- show_attempts: the last attempts of each node that were followed by another one, with the names of their runners.
-- $1 run  $2 first node  $3 last node  $4 most attempts per node
select a.*, r.name as runner_name from (
  select *, row_number() over (partition by step_id order by attempt desc) as back
  from leat.attempt where run_id = $1 and scope = 0 and step_id between $2 and $3
) a left join leat.runner r on r.id = a.runner where a.back <= $4 order by a.step_id, a.attempt;
