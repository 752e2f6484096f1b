-- leave: a claimed attempt has ended; its turn is gone.  $1 runner  $2 run  $3 scope  $4 step  $5 attempt  $6 namespace  $7 key
-- Tells whether somebody waits for a slot of the key.
-- Who lost the claim takes nothing away: the slot is that of whoever goes on with the step.
with gone as (
  delete from leat.turn t using leat.step s
  where s.run_id = $2 and s.scope = $3 and s.id = $4 and s.attempt = $5 and s.state = 2 and s.runner = $1
    and t.run_id = s.run_id and t.scope = s.scope and t.step_id = s.id and t.try = s.attempt - s.broken_off
)
select exists (select from leat.turn where namespace = $6::text and key = $7::text and not held) as awaited;
