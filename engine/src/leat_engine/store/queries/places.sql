-- places: where scopes are, and those around them, outer ones first.  $1 run  $2 scopes
-- A scope belongs to the block with the highest base that is not above it; one around it has a lower number.
with recursive up as (
  select w.scope, b.scope as parent, b.body, w.scope - b.base as index from unnest($2::int[]) as w(scope),
    lateral (select * from leat.block b where b.run_id = $1 and b.base <= w.scope order by b.base desc limit 1) b
  union
  select u.parent, b.scope, b.body, u.parent - b.base from up u,
    lateral (select * from leat.block b where b.run_id = $1 and b.base <= u.parent order by b.base desc limit 1) b
  where u.parent > 0
)
select scope, parent, body, index from up order by scope;
