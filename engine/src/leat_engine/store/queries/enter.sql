-- enter: ask for a slot of a concurrency limit.  The caller holds the key's lock.
--   $1 runner  $2 run  $3 scope  $4 step  $5 attempt (the claim)  $6 namespace  $7 key  $8 capacity
--   $9 whole: for the run, not for the step  $10 begin: nothing else holds it back  $11 queue: stand in the line
-- No row: the claim is not this runner's any more. `held` null: all slots are taken, and it does not stand in the line.
-- `full`: all slots are held by others, so that there is nothing to grant.
with me as materialized (
  select r.id, r.priority, case when $9 then r.created_at else s.opened_at end as opened_at,
    case when $9 then 0 else s.scope end as scope, case when $9 then 0 else s.id end as step,
    case when $9 then 0 else s.attempt - s.broken_off end as try
  from leat.step s join leat.run r on r.id = s.run_id
  where s.run_id = $2 and s.scope = $3 and s.id = $4 and s.attempt = $5 and s.state = 2 and s.runner = $1
), mine as materialized (
  select t.held, t.begun_at from me join leat.turn t on t.run_id = me.id and t.scope = me.scope and t.step_id = me.step and t.try = me.try
), taken as materialized (
  select count(*) >= $8::int as enough from (select from leat.turn where namespace = $6 and key = $7 and held limit $8::int) h
), holders as materialized (           -- only if it matters: are they still there?
  select run_id, scope, step_id, try, stands from leat.turn_now
  where (select enough from taken) and namespace = $6 and key = $7 and held
), gone as (
  delete from leat.turn t using holders h
  where not h.stands and t.run_id = h.run_id and t.scope = h.scope and t.step_id = h.step_id and t.try = h.try
), room as materialized (
  select x.full, not x.full and not exists (select from leat.turn where namespace = $6 and key = $7 and not held) as free
  from (select (select count(*) from holders where stands) >= $8::int as full) x
), put as (
  insert into leat.turn as t (run_id, scope, step_id, try, attempt, namespace, key, capacity, priority, opened_at, held, begun_at)
  select me.id, me.scope, me.step, me.try, $5, $6, $7, $8, me.priority, me.opened_at, room.free,
    case when room.free and $10 then clock_timestamp() end
  from me, room where $11 or room.free or exists (select from mine)
  on conflict (run_id, scope, step_id, try) do update
    set begun_at = coalesce(t.begun_at, case when t.held and $10 then clock_timestamp() end)
  returning t.held
)
select (select held from put) as held, (select begun_at from mine) is not null as went_on,
  (select room.full from room) as full from me;
