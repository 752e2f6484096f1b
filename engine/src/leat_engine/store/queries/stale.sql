-- stale: at most $1 keys where something is to be done: a slot of a dead holder, a free slot for who waits, a granted step that sleeps.
select distinct t.namespace, t.key from leat.turn_now t
where t.held and (not t.stands or t.begun_at is null and t.due_at is null)
union
select l.namespace, l.key from (
  select distinct on (namespace, key) namespace, key, capacity from leat.turn_now
  where not held and key is not null and not suspended
  order by namespace, key, priority desc, opened_at, run_id, scope, step_id
) l
where (select count(*) from leat.turn h where h.namespace = l.namespace and h.key = l.key and h.held) < l.capacity
limit $1;
