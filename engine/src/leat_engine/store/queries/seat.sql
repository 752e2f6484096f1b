-- seat: seats of a namespace go to those who ask and to the first in its line, whose steps are then ready, to be published.
--   $1 namespace  $2 runner
--   who asks    $3 run  $4 scope  $5 step  $6 attempt  $7 begun: it runs already, from before there was a quota
--   who leaves  $8 run  $9 scope  $10 step  $11 attempt
-- The caller holds the lock of the namespace's seats. Whoever lost its claim gets nothing, and takes nothing away. Answers
-- with those who asked and have a seat (pool null), and with the steps that are ready. Lock order: run (by id), step, ready.
with quota as materialized (
  select coalesce((select steps from leat.quota where namespace = $1), 2147483647) as steps
), leaving as materialized (
  select s.run_id, s.scope, s.id as step_id
  from unnest($8::uuid[], $9::int[], $10::int[], $11::int[]) as a(run_id, scope, step, attempt)
  join leat.step s on s.run_id = a.run_id and s.scope = a.scope and s.id = a.step and s.attempt = a.attempt and s.state = 2 and s.runner = $2
), asked as materialized (
  select s.run_id, s.scope, s.id as step_id, s.attempt, s.opened_at, r.priority, a.begun, coalesce(t.held, false) as seated
  from unnest($3::uuid[], $4::int[], $5::int[], $6::int[], $7::boolean[]) as a(run_id, scope, step, attempt, begun)
  join leat.step s on s.run_id = a.run_id and s.scope = a.scope and s.id = a.step and s.attempt = a.attempt and s.state = 2 and s.runner = $2
  join leat.run r on r.id = s.run_id
  left join leat.seat t on t.run_id = s.run_id and t.scope = s.scope and t.step_id = s.id
), taken as materialized (
  select run_id, scope, step_id, stands and (run_id, scope, step_id) not in (select run_id, scope, step_id from leaving) as stands
  from leat.seat_now where namespace = $1 and held
), gone as (
  delete from leat.seat t using taken x
  where not x.stands and t.run_id = x.run_id and t.scope = x.scope and t.step_id = x.step_id
), room as materialized (
  select greatest(0, q.steps::bigint - (select count(*) from taken where stands) - (select count(*) from asked where begun and not seated)) as free
  from quota q
), line as materialized (
  select run_id, scope, step_id, priority, opened_at from leat.seat_now where namespace = $1 and not held and back
  order by priority desc, opened_at, run_id, scope, step_id limit (select least(free, 1000) from room)
), next as materialized (
  select * from (
    select run_id, scope, step_id, priority, opened_at, true as asks from asked where not seated and not begun
    union all select *, false from line
  ) n order by priority desc, opened_at, run_id, scope, step_id limit (select free from room)
), put as (
  insert into leat.seat (run_id, scope, step_id, namespace, priority, opened_at, held)
  select a.run_id, a.scope, a.step_id, $1, a.priority, a.opened_at,
    a.begun or (a.run_id, a.scope, a.step_id) in (select run_id, scope, step_id from next where asks)
  from asked a where not a.seated
  on conflict (run_id, scope, step_id) do update set held = excluded.held, priority = excluded.priority, opened_at = excluded.opened_at
  returning run_id, scope, step_id, held
), locked as materialized (              -- a run that is suspended just now keeps its steps withheld
  select r.id, r.suspended and r.stopping is null as suspended from leat.run r
  where r.id = any(array(select run_id from next where not asks)) order by r.id for share of r
), called as materialized (
  select n.run_id, n.scope, n.step_id from next n join locked l on l.id = n.run_id where not n.asks and not l.suspended
), given as (
  update leat.seat t set held = true from called c where t.run_id = c.run_id and t.scope = c.scope and t.step_id = c.step_id
), woken as (
  update leat.step s set note = null, queued_at = now() from called c
  where s.run_id = c.run_id and s.scope = c.scope and s.id = c.step_id and s.state = 1
), rdy as (
  update leat.ready d set suspended = false, published_at = now() from called c
  where d.run_id = c.run_id and d.scope = c.scope and d.step_id = c.step_id and d.suspended
  returning d.run_id, d.scope, d.step_id, d.attempt, d.pool, d.priority
)
select run_id, scope, step_id, attempt, null::text as pool, 0::smallint as priority from asked where seated
union all select p.run_id, p.scope, p.step_id, a.attempt, null, 0
  from put p join asked a on a.run_id = p.run_id and a.scope = p.scope and a.step_id = p.step_id where p.held
union all select * from rdy;
