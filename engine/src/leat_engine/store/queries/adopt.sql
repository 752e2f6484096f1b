-- adopt: a run that was accepted just now is the child of a step.
--   $1 child  $2 parent  $3 scope  $4 step  $5 try  $6 awaited  $7 hidden  $8 note
-- The caller holds the parent's lock.
with child as (
  update leat.run c set parent_id = p.id, parent_name = p.name, parent_scope = $3, parent_step = $4, parent_try = $5,
    depth = p.depth + 1, awaited = $6, hidden = nullif($7::text[], '{}')
  from leat.run p where c.id = $1 and p.id = $2
), told as (
  update leat.step set note = $8 where $6 and run_id = $2 and scope = $3 and id = $4
)
update leat.run set children = children + 1, noted = noted or $6 where id = $2;
