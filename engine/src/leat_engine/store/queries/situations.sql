-- situations: how far the own steps of runs are, one row per run.  $1 runs  $2 most steps of a run
select w.run_id, s.done, s.live, s.since, b.openers, b.sizes, b.opened, b.settled
from unnest($1::uuid[]) as w(run_id)
cross join lateral (
  select coalesce(array_agg(id) filter (where state >= 4), '{}') as done,
    coalesce(array_agg(id) filter (where opened_at is not null and state < 4), '{}') as live,
    coalesce(array_agg(extract(epoch from now() - opened_at)::float8) filter (where opened_at is not null and state < 4), '{}') as since
  from (select id, state, opened_at from leat.step where run_id = w.run_id and scope = 0 and id > 0 order by id limit $2) t
) s
cross join lateral (
  select coalesce(array_agg(step_id), '{}') as openers, coalesce(array_agg(size), '{}') as sizes,
    coalesce(array_agg(opened), '{}') as opened, coalesce(array_agg(settled), '{}') as settled
  from (select * from leat.block where run_id = w.run_id and scope = 0 order by step_id limit $2) t
) b;
