-- cancelled: steps of a run that were cancelled.  $1 run
select scope, id from leat.step where run_id = $1 and state = 7;
