-- starved: namespaces where runs (or else steps) wait although there is room, or may be: a start may be due by now.
-- One that waits is enough: a limit, where `exists` would become a join over all of them.
select q.namespace, true as runs from leat.quota q
where (q.active_runs is null or (
    select count(*) from (select from leat.run r where r.namespace = q.namespace and r.finished_at is null and r.held is null limit q.active_runs) a
  ) < q.active_runs)
  and (
    select true from leat.run r
    where r.namespace = q.namespace and r.finished_at is null and r.held is not null and r.stopping is null and not r.suspended limit 1
  )
union all
select q.namespace, false from leat.quota q
where (q.steps is null or (select count(*) from leat.seat_now s where s.namespace = q.namespace and s.held and s.stands) < q.steps)
  and (select true from leat.seat_now w where w.namespace = q.namespace and not w.held and w.back limit 1);
