-- nodes: every node that has begun to exist in a run, whatever the scope.  $1 run
select distinct id from leat.step where run_id = $1;
