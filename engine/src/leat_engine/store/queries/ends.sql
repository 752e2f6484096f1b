-- ends: how a node has ended in a range of scopes.  $1 run  $2 first scope  $3 scope behind the last  $4 node  $5 with outputs
select s.scope, s.state, case when $5 then s.output end as output, s.error from leat.step s
where s.run_id = $1 and s.scope >= $2 and s.scope < $3 and s.id = $4 and s.state >= 4 order by s.scope;
