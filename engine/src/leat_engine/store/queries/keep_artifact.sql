-- keep_artifact: an object is there as a whole.  $1 run  $2 scope  $3 step  $4 attempt  $5 name  $6 size  $7 sha256
update leat.artifact set size = $6, sha256 = $7
where run_id = $1 and scope = $2 and step_id = $3 and attempt = $4 and name = $5
returning key;
