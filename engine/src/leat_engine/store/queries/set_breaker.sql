-- set_breaker: what was decided about a breaker.  $1 namespace  $2 key  $3 failures  $4 open until  $5 run  $6 scope  $7 step  $8 attempt
update leat.breaker set failures = $3, open_until = $4, run_id = $5, scope = $6, step_id = $7, attempt = $8
where namespace = $1 and key = $2;
