-- show_slots: concurrency limits that somebody holds or waits for, with names of the first holders.  $1 namespace, or null for all
select t.namespace, t.key, min(t.capacity) as capacity, count(*) filter (where t.held)::int as held,
  count(*) filter (where not t.held)::int as waiting,
  extract(epoch from now() - min(t.opened_at) filter (where not t.held))::float8 as oldest_seconds,
  coalesce((array_agg(distinct r.name) filter (where t.held))[1:10], '{}') as holders
from leat.turn_now t join leat.run r on r.id = t.run_id
where t.key is not null and t.stands and ($1::text is null or t.namespace = $1)
group by t.namespace, t.key order by t.namespace, t.key limit 1000;
