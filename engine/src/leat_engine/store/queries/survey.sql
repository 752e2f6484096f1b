-- survey: the ends of all steps of a scope, without outputs.  $1 run  $2 scope
select s.id, s.state, s.error from leat.step s where s.run_id = $1 and s.scope = $2 and s.state >= 4 and s.id > 0;
