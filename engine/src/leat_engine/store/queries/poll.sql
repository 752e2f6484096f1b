-- poll: ready attempts of a pool, without the broker.  $1 pool  $2 limit
select d.run_id, d.scope, d.step_id, d.attempt, d.pool, d.priority from leat.ready d
where d.pool = $1 and not d.suspended
order by d.priority desc, d.run_id limit $2
for update skip locked;
