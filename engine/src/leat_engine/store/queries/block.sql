-- block: what a step has opened.  $1 run  $2 scope  $3 step
select body, size, opened, settled, failed, target, base, shut from leat.block where run_id = $1 and scope = $2 and step_id = $3;
