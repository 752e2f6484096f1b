-- gather_bytes: how large the outputs of a node are in a range of scopes.  $1 run  $2 first scope  $3 scope behind the last  $4 node
select coalesce(sum(octet_length(s.output::text)), 0) + ($3::int - $2::int) * 5 as bytes from leat.step s
where s.run_id = $1 and s.scope >= $2 and s.scope < $3 and s.id = $4 and s.state = 4;
