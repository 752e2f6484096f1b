-- interrupted: runs whose steps this runner has to interrupt.  $1 runner
with told as (delete from leat.interrupt where runner = $1 returning run_id)
select r.id as run_id, r.stopping, r.error from told t join leat.run r on r.id = t.run_id where r.stopping is not null;
