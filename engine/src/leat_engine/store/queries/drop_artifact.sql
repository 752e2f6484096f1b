-- drop_artifact: its object is gone.  $1 run  $2 scope  $3 step  $4 attempt  $5 name
delete from leat.artifact where run_id = $1 and scope = $2 and step_id = $3 and attempt = $4 and name = $5;
