-- forget_breakers: closed ones that have counted nothing for a day.
delete from leat.breaker where open_until is null
  and coalesce(failures[array_upper(failures, 1)], 0) < extract(epoch from now()) - 86400;
