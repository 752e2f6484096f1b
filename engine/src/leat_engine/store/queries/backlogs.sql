-- backlogs: ready attempts that nobody has claimed, by pool.
select pool, count(*) as waiting, extract(epoch from now() - min(published_at))::float8 as oldest
from leat.ready where not suspended group by pool;
