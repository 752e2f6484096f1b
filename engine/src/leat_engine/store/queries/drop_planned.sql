-- drop_planned: what has not begun in a run that is being migrated; it is planned anew.  $1 run  $2 scope  $3 node
with gone as (
  delete from leat.ready where run_id = $1
)
delete from leat.step s using unnest($2::int[], $3::int[]) as d(scope, node)
where s.run_id = $1 and s.scope = d.scope and s.id = d.node and s.state in (0, 1);
