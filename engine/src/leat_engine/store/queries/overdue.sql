-- overdue: runs whose own timeout has passed.  $1 limit
select run_id from leat.timer where due_at <= now() and step_id = 0 order by due_at limit $1;
