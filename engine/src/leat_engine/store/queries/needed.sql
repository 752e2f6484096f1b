-- needed: runners that a pool needs for what is held, whatever waits.  $1 pool  $2 slots per runner
-- Whoever holds a step for more than 5 s counts, as does every 80 % of a runner's slots. Who drains does not: it goes
-- anyway, when it is done. Without any runner, one is needed as soon as something is to be done that only runners do:
-- a lost message, a timer that no other pool's runners take care of, the steps of the dead. The last one of a pool that is
-- killed is declared dead by nobody: one that was not heard of for 15 s is none.
select greatest(
  ceil(coalesce(sum(r.busy), 0) / ($2::int * 0.8)),
  count(*) filter (where r.held_since < now() - interval '5 seconds'),
  case when count(*) filter (where r.heartbeat_at > now() - interval '15 seconds') > 0 then 0 when
    exists (select from leat.ready d where d.pool = $1 and not d.suspended)
    or exists (select from leat.timer t where t.due_at < now() - interval '2 seconds' and t.pool in ($1, ''))
    or exists (select from leat.block b join leat.run o on o.id = b.run_id and o.pool = $1 and o.phase < 4
      join leat.step s on s.run_id = b.run_id and s.scope = b.scope and s.id = b.step_id and s.state < 4
      where b.due_at < now() - interval '2 seconds')
    or exists (select from leat.hold h join leat.runner d on d.id = h.runner where d.pool = $1
      and (not d.alive or d.heartbeat_at < now() - interval '15 seconds'))
  then 1 else 0 end
)::float8 as needed
from leat.runner r where r.pool = $1 and r.alive and not r.draining;
