-- show_children: runs below a run, of any depth, parents before their children; $2 at most, first those that did not
-- succeed (yet), of the first $3 that are found.  $1 run
with recursive below as (
  select c.id, c.parent_id, c.parent_step, c.name, c.workflow, c.phase, c.suspended, c.total,
    c.succeeded + c.failed + c.skipped as done, c.depth, c.created_at, c.finished_at, c.namespace
  from leat.run c where c.parent_id = $1
  union all
  select c.id, c.parent_id, c.parent_step, c.name, c.workflow, c.phase, c.suspended, c.total,
    c.succeeded + c.failed + c.skipped as done, c.depth, c.created_at, c.finished_at, c.namespace
  from below b join leat.run c on c.parent_id = b.id and c.namespace = b.namespace
)
select b.* from (
  select * from (select * from below limit $3) found order by depth, phase = 4, created_at, id limit $2
) b order by depth, created_at, id;
