-- quota_usage: what namespaces use of their quotas, and what waits.  $1 namespaces
select n.namespace,
  (select count(*) from leat.run r where r.namespace = n.namespace and r.finished_at is null and r.held is null)::int as active_runs,
  (select count(*) from leat.run r where r.namespace = n.namespace and r.admitted_at > now() - interval '1 minute')::int as starts,
  (select count(*) from leat.seat_now s where s.namespace = n.namespace and s.held and s.stands)::int as steps,
  (select count(*) from leat.run r where r.namespace = n.namespace and r.finished_at is null and r.held is not null)::int as waiting_runs,
  (select count(*) from leat.seat_now s where s.namespace = n.namespace and not s.held and s.back)::int as waiting_steps
from unnest($1::text[]) as n(namespace);
