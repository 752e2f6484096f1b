-- keep_result: a result that may be taken from now on, for $4 seconds.  $1 namespace  $2 key  $3 output  $5 run
insert into leat.cache (namespace, key, output, expires_at, run_id) values ($1, $2, $3, now() + make_interval(secs => $4), $5)
on conflict (namespace, key) do update set output = excluded.output, expires_at = excluded.expires_at, run_id = excluded.run_id;
