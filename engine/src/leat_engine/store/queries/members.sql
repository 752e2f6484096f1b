-- members: runners that are alive.
select name, pool, slots, busy, heartbeat_at from leat.runner where alive;
