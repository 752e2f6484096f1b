-- failures: failed steps of runs, at most $2 per run.  $1 runs
select s.* from unnest($1::uuid[]) as w(run_id) cross join lateral (
  select * from leat.step where run_id = w.run_id and state = 5 and id > 0 order by id limit $2
) s;
