-- renumber: the steps of a run that is being migrated get the numbers of the other plan.
--   $1 run  $2 old node  $3 new node  $4 old body  $5 new body
-- Called twice, by way of numbers that no plan has: a new number may be an old one of another step.
-- Every table that names a step has to be here.
with m as materialized (
  select * from unnest($2::int[], $3::int[]) as m(old, new)
), steps as (
  update leat.step t set id = m.new from m where t.run_id = $1 and t.id = m.old
), attempts as (
  update leat.attempt t set step_id = m.new from m where t.run_id = $1 and t.step_id = m.old
), timers as (
  update leat.timer t set step_id = m.new from m where t.run_id = $1 and t.step_id = m.old
), turns as (
  update leat.turn t set step_id = m.new from m where t.run_id = $1 and t.step_id = m.old
), seats as (
  update leat.seat t set step_id = m.new from m where t.run_id = $1 and t.step_id = m.old
), probes as (
  update leat.breaker t set step_id = m.new from m where t.run_id = $1 and t.step_id = m.old
), logs as (
  update leat.log t set step_id = m.new from m where t.run_id = $1 and t.step_id = m.old
), signals as (
  update leat.signal t set step_id = m.new from m where t.run_id = $1 and t.step_id = m.old
), listeners as (
  update leat.listener t set step_id = m.new from m where t.run_id = $1 and t.step_id = m.old
), artifacts as (
  update leat.artifact t set step_id = m.new from m where t.run_id = $1 and t.step_id = m.old
), children as (
  update leat.run t set parent_step = m.new from m where t.parent_id = $1 and t.parent_step = m.old
), bodies as materialized (
  select * from unnest($4::int[], $5::int[]) as b(old, new)
)
update leat.block t set
  step_id = coalesce((select m.new from m where m.old = t.step_id), t.step_id),
  body = coalesce((select b.new from bodies b where b.old = t.body), t.body)
where t.run_id = $1;
