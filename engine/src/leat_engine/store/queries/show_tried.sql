-- show_tried: the last attempts of each step of these scopes that were followed by another one, with their runners' names.
-- $1 run  $2 scopes  $3 most attempts per step  $4 most rows
select a.*, r.name as runner_name from (
  select *, row_number() over (partition by scope, step_id order by attempt desc) as back
  from leat.attempt where run_id = $1 and scope = any($2::int[])
) a left join leat.runner r on r.id = a.runner where a.back <= $3 order by a.scope, a.step_id, a.attempt limit $4;
