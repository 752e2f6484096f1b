-- interrupted: runs whose steps this runner has to interrupt; told again and again until they are over.  $1 runner
-- `shut`: only those in these ranges of scopes; that is told once, and asked for again by who waits for it.
with over as (
  delete from leat.interrupt i using leat.run r where i.runner = $1 and r.id = i.run_id and (r.phase >= 4 or i.partly)
)
select r.id as run_id, case when not i.partly then r.stopping end as stopping, r.error,
  case when i.partly then r.shut end as shut
from leat.interrupt i join leat.run r on r.id = i.run_id
where i.runner = $1 and r.phase < 4 and (i.partly and r.shut is not null or not i.partly and r.stopping is not null);
