-- enroll: how far a schedule is settled; one that is new is settled up to now.
-- $1 namespace  $2 workflow  $3 name  $4 uid of the Workflow  $5 now
insert into leat.trigger as t (namespace, workflow, name, uid, settled_at) values ($1, $2, $3, $4, $5)
on conflict (namespace, workflow, name) do update set
  uid = excluded.uid,
  settled_at = case when t.uid = excluded.uid then t.settled_at else excluded.settled_at end,
  fired_at = case when t.uid = excluded.uid then t.fired_at end
returning settled_at, fired_at;
