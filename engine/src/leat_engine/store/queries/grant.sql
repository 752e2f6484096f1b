-- grant: free slots of a key go to the first in its line; their steps are ready, for the caller to publish.
--   $1 namespace  $2 key  steps that were parked just now, $3 run  $4 scope  $5 step.  The caller holds the key's lock.
-- Slots and places of tries that are over are taken away. Who was granted while its claim was still being parked is
-- woken as soon as it is. Lock order: run (by id), timer, step, ready; what `wake` is about to wake is left to it.
with holders as materialized (
  select run_id, scope, step_id, try, stands, begun_at, due_at from leat.turn_now where namespace = $1 and key = $2 and held
), line as materialized (
  select * from leat.turn_now where namespace = $1 and key = $2 and not held
  order by priority desc, opened_at, run_id, scope, step_id
  limit 20 + greatest(0, (
    select capacity from leat.turn where namespace = $1 and key = $2 and not held
    order by priority desc, opened_at, run_id, scope, step_id limit 1
  ) - (select count(*) from holders where stands))
), gone as (
  delete from leat.turn t
  using (select run_id, scope, step_id, try from holders where not stands
         union all select run_id, scope, step_id, try from line where not stands) x
  where t.run_id = x.run_id and t.scope = x.scope and t.step_id = x.step_id and t.try = x.try
), next as materialized (              -- in order: who does not fit lets nobody pass
  select n.*, bool_and((select count(*) from holders where stands) + place <= capacity)
    over (order by place) as free
  from (
    select l.*, row_number() over (order by priority desc, opened_at, run_id, scope, step_id) as place
    from line l where stands and not suspended
  ) n
), given as (
  update leat.turn t set held = true from next n
  where n.free and t.run_id = n.run_id and t.scope = n.scope and t.step_id = n.step_id and t.try = n.try
  returning t.run_id, t.scope, t.step_id
), called as materialized (
  select * from given
  union all select run_id, scope, step_id from holders where stands and begun_at is null and due_at is null
  union all                            -- parked behind its run, which another step of it has begun meanwhile
  select p.run_id, p.scope, p.step_id from unnest($3::uuid[], $4::int[], $5::int[]) as p(run_id, scope, step_id)
  where exists (select from holders h where h.run_id = p.run_id and h.step_id = 0 and h.stands and h.begun_at is not null)
), locked as materialized (
  select r.id, r.priority, r.suspended and r.stopping is null as suspended from leat.run r
  where r.id = any(array(select run_id from called)) order by r.id for share of r
), timed as materialized (
  select t.run_id, t.scope, t.step_id, t.attempt, t.pool, l.priority, l.suspended
  from called c join locked l on l.id = c.run_id join leat.timer t on t.run_id = c.run_id and t.step_id > 0
    and (c.step_id = 0 or t.scope = c.scope and t.step_id = c.step_id)
  for update of t skip locked
), untimed as (
  delete from leat.timer t using timed d where t.run_id = d.run_id and t.scope = d.scope and t.step_id = d.step_id
), woken as (
  update leat.step s set state = 1, queued_at = now() from timed d
  where s.run_id = d.run_id and s.scope = d.scope and s.id = d.step_id and s.attempt = d.attempt and s.state = 3
  returning s.run_id, s.scope, s.id, s.attempt
), rdy as (
  insert into leat.ready (run_id, scope, step_id, attempt, pool, priority, suspended)
  select w.run_id, w.scope, w.id, w.attempt, d.pool, d.priority, d.suspended
  from woken w join timed d on d.run_id = w.run_id and d.scope = w.scope and d.step_id = w.id
  returning run_id, scope, step_id, attempt, pool, priority, suspended
)
select run_id, scope, step_id, attempt, pool, priority from rdy where not suspended;
