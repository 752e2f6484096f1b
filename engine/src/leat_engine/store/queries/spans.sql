-- spans: the scopes that steps of a run have opened.  $1 run
select scope, step_id as node, body, base, size, opened from leat.block where run_id = $1 order by base;
