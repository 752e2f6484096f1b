-- take: what was decided about a bucket, and when who asked may start.
--   $1 run  $2 scope  $3 step  $4 attempt (the claim)  $5 namespace  $6 key  $7 line  $8 spent  $9 due  $10 counted
with bucket as (
  update leat.bucket set line = $7, spent = $8 where namespace = $5 and key = $6
)
insert into leat.turn as t (run_id, scope, step_id, try, attempt, namespace, opened_at, due_at, begun_at)
select s.run_id, s.scope, s.id, s.attempt - s.broken_off, s.attempt, $5, s.opened_at, to_timestamp($9::float8),
  case when $10 then clock_timestamp() end
from leat.step s where s.run_id = $1 and s.scope = $2 and s.id = $3 and s.attempt = $4
on conflict (run_id, scope, step_id, try) do update set due_at = excluded.due_at, attempt = excluded.attempt,
  begun_at = excluded.begun_at;
