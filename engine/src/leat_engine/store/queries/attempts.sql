-- attempts: the attempts of a run that were followed by another one.  $1 run
select * from leat.attempt where run_id = $1 order by scope, step_id, attempt;
