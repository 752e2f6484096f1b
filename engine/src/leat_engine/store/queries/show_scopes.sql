-- show_scopes: scopes of blocks that are worth showing, each with the state of its result, and how many are like it of those
-- that the block does not know to be over.
--   $1 run  $2 bases  $3 first index  $4 index behind the last  $5 node of the result  $6 how many are known to be over
--   $7 whether some of these failed  $8 most of a block and a state
-- No more is looked at than what a block has open, which is bounded; and, of what is settled, for failures if there are some.
with asked as materialized (
  select * from unnest($2::int[], $3::int[], $4::int[], $5::int[], $6::int[], $7::bool[])
    as a(base, since, until, node, settled, failed)
), seen as materialized (
  select a.base, g.scope, g.scope >= a.base + a.settled as fresh, case when s.state >= 4 then s.state end as state
  from asked a cross join lateral generate_series(a.base + a.since, a.base + a.until - 1) as g(scope)
  left join leat.step s on s.run_id = $1 and s.scope = g.scope and s.id = a.node
), ranked as (
  select base, scope, state, count(*) filter (where fresh) over (partition by base, state) as alike, row_number() over (
    partition by base, state order by scope) as place
  from seen
)
select base, scope, state, alike from ranked where place <= $8
union all
select a.base, f.scope, 5::smallint, 0 from asked a cross join lateral (
  select s.scope from leat.step s
  where a.failed and s.run_id = $1 and s.scope >= a.base and s.scope < a.base + a.since and s.id = a.node and s.state = 5
  order by s.scope limit $8
) f;
