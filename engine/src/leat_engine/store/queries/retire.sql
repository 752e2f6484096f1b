-- retire: a runner leaves, after whatever statement of its own is still under way.  $1 runner
with me as materialized (
  select id from leat.runner where id = $1 and alive for update
)
update leat.runner r set alive = false, busy = 0 from me where r.id = me.id returning r.id;
