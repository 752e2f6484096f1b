-- outlasted: bodies whose time is over, though they are not. Of those that are, nobody needs to know the time any more.  $1 limit
with due as materialized (
  select b.run_id, b.scope, b.step_id, coalesce(r.phase < 4 and r.stopping is null and s.state < 4, false) as going
  from leat.block b left join leat.run r on r.id = b.run_id
  left join leat.step s on s.run_id = b.run_id and s.scope = b.scope and s.id = b.step_id
  where b.due_at <= now() order by b.due_at limit $1
  for no key update of b skip locked
), over as (
  update leat.block b set due_at = null from due d
  where not d.going and b.run_id = d.run_id and b.scope = d.scope and b.step_id = d.step_id
)
select run_id, scope, step_id from due where going;
