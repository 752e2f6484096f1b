-- settle_run: how a run ends is decided; what it did is listed to be undone, last things first, if it does not end well.
--   $1 runner  $2 run  $3 attempt of its END  $4 phase  $5 output  $6 error
--   compensations $7 node  $8 by  $9 rank
-- If the run was told to stop meanwhile, that is how it ends. Lock order: runner, run, step. Nothing the second time.
with me as materialized (
  select id from leat.runner where id = $1 and alive for key share
), locked as materialized (
  select r.id, r.scopes, r.uid, coalesce(r.stopping, $4) as outcome from leat.run r, me
  where r.id = $2 and r.phase < 4 and r.outcome is null for no key update of r
), mine as materialized (
  select l.* from locked l join leat.step s on s.run_id = l.id and s.scope = 0 and s.id = 0 and s.attempt = $3 and s.state = 2 and s.runner = $1
), listed as (
  insert into leat.undo (run_id, place, scope, step_id)
  select s.run_id, row_number() over (order by s.finished_at desc, u.rank desc, s.scope desc), s.scope, u.by
  from mine m join leat.step s on s.run_id = m.id and s.state = 4 and s.id = any($7::int[])
  join unnest($7::int[], $8::int[], $9::int[]) as u(node, by, rank) on u.node = s.id
  where m.outcome <> 4
  returning place
), block as (
  insert into leat.block (run_id, scope, step_id, base, size, body, opened, target) select id, 0, 0, scopes + 1, 1, 1, 0, 0 from mine
), untimed as (
  delete from leat.timer t using mine m where t.run_id = m.id and t.scope = 0 and t.step_id = 0
), behind as (
  insert into leat.report (run_id) select id from mine where uid is not null
  on conflict (run_id) do update set version = nextval('leat.report_version')
)
update leat.run r set outcome = m.outcome, stopping = null, ending = false, shut = null, scopes = r.scopes + 1,
  output = case when r.stopping is null then $5::json end, error = coalesce(r.error, $6::json),
  total = least(r.total::bigint + (select count(*) from listed), 2147483647)::int,
  phase = case when exists (select from listed) then 3 else r.phase end
from mine m where r.id = m.id returning r.id;
