-- heartbeat: still here.  $1 runner  $2 busy slots  $3 seconds since its oldest running step began, or null  $4 draining
-- No row: declared dead.
update leat.runner set heartbeat_at = now(), busy = $2, held_since = now() - make_interval(secs => $3), draining = $4
where id = $1 and alive returning id;
