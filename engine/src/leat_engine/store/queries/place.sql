-- place: whether who asks has a slot, and else how many are before it in the line, a thousand at most.
--   $1 run  $2 scope  $3 step  $4 try
select t.held, (
  select count(*) from (
    select from leat.turn o where o.namespace = t.namespace and o.key = t.key and not o.held
      and (-o.priority, o.opened_at, o.run_id, o.scope, o.step_id) < (-t.priority, t.opened_at, t.run_id, t.scope, t.step_id)
    order by o.priority desc, o.opened_at, o.run_id, o.scope, o.step_id limit 1000
  ) first
)::int as before
from leat.turn t where t.run_id = $1 and t.scope = $2 and t.step_id = $3 and t.try = $4;
