-- steps: the steps of a run that have a row, END excluded.  $1 run
select * from leat.step where run_id = $1 and id > 0 order by scope, id;
