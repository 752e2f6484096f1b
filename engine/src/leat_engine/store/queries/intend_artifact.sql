-- intend_artifact: an attempt is about to put an object.  $1 runner  $2 run  $3 scope  $4 step  $5 attempt  $6 name  $7 namespace  $8 key  $9 content type
-- Before the object, so that whatever is there has a row; asking again changes nothing. Nothing is given to who has lost the claim.
insert into leat.artifact as a (run_id, scope, step_id, attempt, name, namespace, key, content_type)
select s.run_id, s.scope, s.id, s.attempt, $6, $7, $8, $9 from leat.step s
where s.run_id = $2 and s.scope = $3 and s.id = $4 and s.attempt = $5 and s.state = 2 and s.runner = $1
on conflict (run_id, scope, step_id, attempt, name) do update set content_type = excluded.content_type, size = null, sha256 = null
returning a.key;
