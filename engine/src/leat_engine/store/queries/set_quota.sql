-- set_quota: what a namespace is allowed from now on.  $1 namespace  $2 active runs  $3 starts per minute  $4 steps
-- Runs that are held are told anew why; `admit` finds out.
with put as (
  insert into leat.quota (namespace, active_runs, starts_per_minute, steps) values ($1, $2, $3, $4)
  on conflict (namespace) do update set active_runs = excluded.active_runs, starts_per_minute = excluded.starts_per_minute,
    steps = excluded.steps
)
update leat.run set held = '' where namespace = $1 and finished_at is null and held <> '';
