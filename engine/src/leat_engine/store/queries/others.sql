-- others: runs that have a slot of a key, or wait for one, and are older than this run.  $1 namespace  $2 key  $3 run
select t.run_id from leat.turn_now t join leat.run r on r.id = t.run_id
where t.namespace = $1 and t.key = $2 and t.step_id = 0 and t.stands and r.stopping is null
  and (r.created_at, r.id) < (select m.created_at, m.id from leat.run m where m.id = $3);
