-- forget: dead runners without claims, and what they were to be told.  $1 seconds
with untold as (
  delete from leat.interrupt i using leat.runner r where r.id = i.runner and not r.alive
)
delete from leat.runner r where not alive and heartbeat_at < now() - make_interval(secs => $1)
  and not exists (select from leat.hold h where h.runner = r.id);
