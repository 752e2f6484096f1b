-- first_failed: the first scope of a range in which a node has failed.  $1 run  $2 first scope  $3 scope behind the last  $4 node
select s.scope, s.error from leat.step s
where s.run_id = $1 and s.scope >= $2 and s.scope < $3 and s.id = $4 and s.state = 5 order by s.scope limit 1;
