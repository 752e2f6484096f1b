-- inherit_artifact: what a try puts without its runner is that of the attempt that follows it now.  $1 runner  $2 run  $3 scope  $4 step  $5 attempt  $6 name  $7 key
-- The row moves: there is one per object.
update leat.artifact a set attempt = s.attempt from leat.step s
where s.run_id = $2 and s.scope = $3 and s.id = $4 and s.attempt = $5 and s.state = 2 and s.runner = $1
  and a.run_id = s.run_id and a.scope = s.scope and a.step_id = s.id and a.attempt < s.attempt and a.name = $6 and a.key = $7;
