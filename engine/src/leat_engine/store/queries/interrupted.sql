-- interrupted: runs whose steps this runner has to interrupt; told again and again until they are over.  $1 runner
with over as (
  delete from leat.interrupt i using leat.run r where i.runner = $1 and r.id = i.run_id and r.phase >= 4
)
select r.id as run_id, r.stopping, r.error from leat.interrupt i join leat.run r on r.id = i.run_id
where i.runner = $1 and r.stopping is not null and r.phase < 4;
