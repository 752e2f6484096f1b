-- announced: what pools said last that they can do.
select name, revision, kinds, functions, slots, announced_at from leat.pool;
