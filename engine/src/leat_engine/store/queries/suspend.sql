-- suspend: pause or resume a run.  $1 run  $2 suspended.  A run that is being stopped is not paused any more.
-- Its ready steps follow by `withhold`, a statement of its own: this one may have waited for a commit whose rows only the
-- next one sees.
with r as (
  update leat.run set suspended = $2 where id = $1 and phase < 4 and suspended <> $2 and (stopping is null or not $2)
  returning id, uid, namespace, held
), behind as (
  insert into leat.report (run_id) select id from r where uid is not null
  on conflict (run_id) do update set version = nextval('leat.report_version')
)
select id, namespace, held is not null as held from r;
