-- suspend: pause or resume a run; its ready steps follow.  $1 run  $2 suspended
with r as (
  update leat.run set suspended = $2 where id = $1 and phase < 4 and suspended <> $2 returning id, uid
), rdy as (
  update leat.ready d set suspended = $2, published_at = now() from r where d.run_id = r.id
  returning d.run_id, d.scope, d.step_id, d.attempt, d.pool, d.priority
), behind as (
  insert into leat.report (run_id) select id from r where uid is not null
  on conflict (run_id) do update set version = nextval('leat.report_version')
)
select * from rdy where not $2;
