-- history: the revisions that a workflow has had, the newest first, and its runs by them.  $1 namespace  $2 workflow
-- One that nobody applied came with a run: of `leat run`, or with a spec of its own.
with used as materialized (
  select revision, min(created_at) as first_at,
    count(*) filter (where finished_at is null)::int as active, count(*) filter (where finished_at is not null)::int as finished
  from leat.run where namespace = $1 and workflow = $2 group by revision
)
select coalesce(v.revision, u.revision) as revision, coalesce(v.applied_at, u.first_at) as since, v.returned_at,
  coalesce(u.active, 0) as active, coalesce(u.finished, 0) as finished
from (select * from leat.version where namespace = $1 and workflow = $2) v full join used u on u.revision = v.revision
order by coalesce(v.returned_at, v.applied_at, u.first_at) desc;
