-- breaker: one, as it is.  $1 namespace  $2 key.  No row: closed, without failures.
select b.failures, b.open_until, b.run_id, b.scope, b.step_id, b.attempt, extract(epoch from clock_timestamp())::float8 as now,
  exists (select from leat.step s where s.run_id = b.run_id and s.scope = b.scope and s.id = b.step_id
    and s.attempt = b.attempt and s.state between 1 and 3) as probing
from leat.breaker b where b.namespace = $1 and b.key = $2;
