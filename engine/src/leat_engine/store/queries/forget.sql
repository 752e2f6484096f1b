-- forget: dead runners without claims.  $1 seconds
delete from leat.runner r where not alive and heartbeat_at < now() - make_interval(secs => $1)
  and not exists (select from leat.hold h where h.runner = r.id);
