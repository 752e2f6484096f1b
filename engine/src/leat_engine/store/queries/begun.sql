-- begun: when runners that are gone began the try that an attempt goes on with.  $1 run  $2 scope  $3 step  $4 attempt
select min(started_at) as at from leat.attempt
where run_id = $1 and scope = $2 and step_id = $3 and attempt < $4 and attempt > coalesce((
  select max(attempt) from leat.attempt
  where run_id = $1 and scope = $2 and step_id = $3 and attempt < $4 and error->>'type' not in ('RunnerLost', 'RunnerStopped')), 0);
