-- settle: every moment of a schedule up to $5 is done with; the last run was that of $6, if it is given. It never goes
-- back: a replica that was frozen may come late.
-- $1 namespace  $2 workflow  $3 name  $4 uid of the Workflow  $5 settled up to  $6 moment of a run
update leat.trigger set settled_at = greatest(settled_at, $5), fired_at = greatest(fired_at, $6)
where namespace = $1 and workflow = $2 and name = $3 and uid = $4;
