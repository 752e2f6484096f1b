-- members: runners that are alive.  $1 limit
select name, pool, slots, busy, heartbeat_at from leat.runner where alive order by pool, name limit $1;
