-- register: a new runner.  $1 name  $2 pool  $3 slots
insert into leat.runner (name, pool, slots) values ($1, $2, $3) returning id;
