-- forget_breakers: closed ones that have counted nothing for a day; the others by state.
with gone as (
  delete from leat.breaker where open_until is null
    and coalesce(failures[array_upper(failures, 1)], 0) < extract(epoch from now()) - 86400
)
select count(*) filter (where open_until > extract(epoch from now())) as open,
  count(*) filter (where open_until <= extract(epoch from now())) as half_open
from leat.breaker;
