-- pinned: runs that are not over and have this revision, oldest first.  $1 namespace  $2 workflow  $3 revision  $4 limit
select * from leat.run where namespace = $1 and workflow = $2 and revision = $3 and finished_at is null order by id limit $4;
