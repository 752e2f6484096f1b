-- left_within: steps that were cancelled when a body was shut, and may have left something behind.  $1 run  $2 scope  $3 step  $4 nodes
with recursive within as (
  select base, settled, opened from leat.block where run_id = $1 and scope = $2 and step_id = $3
  union all
  select b.base, b.settled, b.opened from within w
  join leat.block b on b.run_id = $1 and b.scope >= w.base + w.settled and b.scope < w.base + w.opened
)
select s.scope, s.id from within w
join leat.step s on s.run_id = $1 and s.scope >= w.base + w.settled and s.scope < w.base + w.opened
where s.state = 7 and s.id = any($4::int[]);
