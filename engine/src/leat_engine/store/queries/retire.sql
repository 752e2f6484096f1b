-- retire: a runner that has no claims leaves.  $1 runner
update leat.runner set alive = false, busy = 0 where id = $1 and alive returning id;
