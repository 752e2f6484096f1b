-- count_breakers: those that are not closed, by state.
select count(*) filter (where open_until > extract(epoch from now()))::int as open,
  count(*) filter (where open_until <= extract(epoch from now()))::int as half_open
from leat.breaker;
