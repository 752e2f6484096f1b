-- heartbeat: still here.  $1 runner  $2 busy slots.  No row: declared dead.
update leat.runner set heartbeat_at = now(), busy = $2 where id = $1 and alive returning id;
