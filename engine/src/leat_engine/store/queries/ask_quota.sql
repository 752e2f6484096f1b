-- ask_quota: how much of its quota of runs a namespace uses, and whether a run waits that might begin.  $1 namespace
-- The caller holds the lock of its runs. Runs are counted up to the limit only.
select q.active_runs, q.starts_per_minute, coalesce(q.spent, 0) as spent, extract(epoch from clock_timestamp())::float8 as now,
  case when q.active_runs is null then 0 else (
    select count(*) from (
      select from leat.run where namespace = $1 and finished_at is null and held is null limit q.active_runs
    ) a
  ) end::int as active,
  case when q.starts_per_minute is null then 0 else (
    select count(*) from leat.run where namespace = $1 and admitted_at > now() - interval '1 minute'
  ) end::int as started,
  exists (
    select from leat.run where namespace = $1 and finished_at is null and held is not null and stopping is null and not suspended
  ) as awaited,
  exists (select from leat.run where namespace = $1 and finished_at is null and held = '') as unsaid
from (select 1) one left join leat.quota q on q.namespace = $1;
