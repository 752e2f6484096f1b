-- progress: every step of a run that has a row, ends included.  $1 run
select scope, id as node, state, attempt, started_at is not null as executed from leat.step where run_id = $1 order by scope, id;
