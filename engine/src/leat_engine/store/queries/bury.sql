-- bury: runners silent for $1 seconds are dead for good, in a transaction of its own: no commit of theirs can follow.
with silent as (
  select id from leat.runner where alive and heartbeat_at < now() - make_interval(secs => $1) for update skip locked
)
update leat.runner r set alive = false from silent s where r.id = s.id returning r.id, r.name;
