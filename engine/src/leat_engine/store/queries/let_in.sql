-- let_in: a run begins whatever the quota of its namespace says: a run of it waits for its end, and would hold the room.  $1 run
with free as (
  update leat.run set held = null, admitted_at = clock_timestamp() where id = $1 and held is not null
  returning id, suspended, timeout
), timed as (
  insert into leat.timer (run_id, scope, step_id, attempt, due_at, pool)
  select id, 0, 0, 0, now() + make_interval(secs => timeout), '' from free where timeout is not null
)
update leat.ready d set suspended = f.suspended from free f where d.run_id = f.id;
