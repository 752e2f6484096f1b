-- note: what a claimed step waits for, or null when it does not any more.  $1 runner  $2 run  $3 scope  $4 step  $5 attempt  $6 text
-- Lock order: run, step. A run with a resource has to tell it.
with locked as materialized (
  select id, uid, noted from leat.run where id = $2 for no key update
), said as (
  update leat.step s set note = $6 from locked l
  where s.run_id = l.id and s.scope = $3 and s.id = $4 and s.attempt = $5 and s.state = 2 and s.runner = $1 and s.note is distinct from $6
  returning s.run_id
), noted as (
  update leat.run r set noted = true from locked l, said where r.id = l.id and not l.noted
), behind as (
  insert into leat.report (run_id) select l.id from locked l, said where l.uid is not null
  on conflict (run_id) do update set version = nextval('leat.report_version')
)
select count(*) > 0 as said from said;
