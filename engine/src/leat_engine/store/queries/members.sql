-- members: runners that are alive, with what they hold.
select name, pool, slots, busy, draining, heartbeat_at,
  extract(epoch from now() - held_since)::float8 as held_seconds
from leat.runner where alive;
