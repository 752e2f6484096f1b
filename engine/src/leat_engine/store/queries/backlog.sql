-- backlog: attempts that wait for a slot, and for how long the first of them does, by pool.
select pool, count(*) as waiting, extract(epoch from now() - min(published_at))::float8 as oldest_seconds
from leat.ready where not suspended group by pool;
