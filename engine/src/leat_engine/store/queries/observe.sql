-- observe: how long the steps of some runs took, counted by revision and node.
-- $1 runs  $2 most steps of one run  $3 seconds of the first bucket  $4 by what buckets grow
-- `what`: state (bucket: the state), tries (count: attempts), took and span (bucket: of seconds), body (bucket: the body; count: scopes
-- of it). A run that brings its own workflow goes by its own name, which nothing comes back to: it is left out. So is what a rerun kept.
with runs as materialized (
  select id, namespace, workflow, revision, created_at from leat.run
  where id = any($1) and finished_at is not null and (uid is null or workflow <> name)
), steps as materialized (
  select r.namespace, r.workflow, r.revision, s.* from runs r cross join lateral (
    select run_id, scope, id, state, attempt - broken_off as tries,
      extract(epoch from finished_at - started_at)::float8 as took, extract(epoch from finished_at - opened_at)::float8 as span
    from leat.step where run_id = r.id and id > 0 and state in (4, 5, 6, 8) and finished_at >= r.created_at
    order by scope, id limit $2
  ) s
), counted as (
  select namespace, workflow, revision, id, 'state' as what, state::int as bucket, 1 as n from steps
  union all
  select namespace, workflow, revision, id, 'tries', 0, tries from steps where state in (4, 5)
  union all
  select s.namespace, s.workflow, s.revision, s.id, w.what,
    case when w.seconds <= $3 then 0 else greatest(ceil(ln(w.seconds / $3) / ln($4::float8)), 0)::int end, 1
  from steps s cross join lateral (values ('took', s.took), ('span', s.span)) as w(what, seconds)
  where s.state in (4, 5) and w.seconds is not null
  union all
  select s.namespace, s.workflow, s.revision, s.id, 'body', b.body, b.opened
  from steps s join leat.block b on b.run_id = s.run_id and b.scope = s.scope and b.step_id = s.id where s.state in (4, 5)
)
select namespace, workflow, revision, id as step, what, bucket, sum(n)::int8 as count from counted group by 1, 2, 3, 4, 5, 6;
