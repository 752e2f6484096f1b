-- hear: a claimed step waits, and what it was told so far.  $1 runner  $2 run  $3 scope  $4 step  $5 attempt
--   $6 name  $7 approval  $8 rule  $9 seconds  $10 note
-- The caller holds the run's lock, and took it with a statement of its own: this one sees what was sent before it.
-- A payload becomes the step's here, for good: who takes the step over gets the same. Nothing for a step that is not ours.
with mine as materialized (
  select run_id, scope, id from leat.step
  where run_id = $2 and scope = $3 and id = $4 and attempt = $5 and state = 2 and runner = $1
), bound as materialized (
  select g.* from mine, leat.signal g
  where g.run_id = $2 and g.scope = $3 and g.step_id = $4 and g.dismissed is null
), oldest as materialized (
  select g.id from mine, leat.signal g
  where not $7 and g.run_id = $2 and g.name = $6 and g.scope is null and not exists (select from bound)
    and not exists (select from leat.listener l where l.run_id = $2 and l.scope = $3 and l.step_id = $4 and l.closed)
  order by g.seq limit 1
), took as (
  update leat.signal g set scope = $3, step_id = $4 from oldest o where g.run_id = $2 and g.id = o.id returning g.*
), here as (
  insert into leat.listener as l (run_id, scope, step_id, name, approval, rule, until, closed)
  select $2, $3, $4, $6, $7, $8, now() + make_interval(secs => $9), exists (select from took) from mine
  on conflict (run_id, scope, step_id) do update set name = excluded.name, rule = excluded.rule, called = false,
    closed = l.closed or excluded.closed or l.until <= now()
  returning l.until, l.closed
), told as (
  update leat.step s set note = $10 from mine m, here h
  where s.run_id = m.run_id and s.scope = m.scope and s.id = m.id and not h.closed
), noted as (
  update leat.run r set noted = true from here h where r.id = $2 and not r.noted and not h.closed
)
select h.closed, greatest(0, extract(epoch from h.until - now()))::float8 as seconds, s.*
from here h left join (select * from bound union all select * from took) s on true order by s.seq;
