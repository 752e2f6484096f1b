-- ask_bucket: lock a bucket, full if it is new; with the time, and the turn of who asks.
--   $1 runner  $2 run  $3 scope  $4 step  $5 attempt (the claim)  $6 namespace  $7 key.  No row: the claim is lost.
with me as materialized (
  select s.run_id, s.scope, s.id, s.attempt - s.broken_off as try from leat.step s
  where s.run_id = $2 and s.scope = $3 and s.id = $4 and s.attempt = $5 and s.state = 2 and s.runner = $1
), locked as (
  insert into leat.bucket as b (namespace, key, line, spent) select $6, $7, 0, 0 from me
  on conflict (namespace, key) do update set line = b.line returning b.line, b.spent
)
select l.line, l.spent, extract(epoch from clock_timestamp())::float8 as now, extract(epoch from t.due_at)::float8 as due,
  t.begun_at is not null as begun, t.attempt
from locked l cross join me left join leat.turn t on t.run_id = me.run_id and t.scope = me.scope and t.step_id = me.id and t.try = me.try;
