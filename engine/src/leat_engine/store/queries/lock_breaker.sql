-- lock_breaker: make sure that it has a row, and lock that until the transaction's end.  $1 namespace  $2 key  $3 cool-down
insert into leat.breaker (namespace, key, cool_down) values ($1, $2, $3)
on conflict (namespace, key) do update set cool_down = excluded.cool_down;
