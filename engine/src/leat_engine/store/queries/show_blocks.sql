-- show_blocks: what steps of these scopes have opened.  $1 run  $2 scopes  $3 most
select scope, step_id, body, size, opened, settled, failed, target, base, shut from leat.block
where run_id = $1 and scope = any($2::int[]) order by scope, step_id limit $3;
