-- put_workflow: what a Workflow is now, unless something newer is known: a replica that was frozen may come late.
--   $1 namespace  $2 name  $3 uid  $4 created  $5 generation  $6 revision  $7 problem
insert into leat.workflow as w (namespace, name, uid, created_at, generation, revision, problem)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (namespace, name) do update set uid = excluded.uid, created_at = excluded.created_at,
  generation = excluded.generation, revision = excluded.revision, problem = excluded.problem
where (excluded.created_at, excluded.generation) >= (w.created_at, w.generation)
  and (excluded.uid, excluded.generation, excluded.revision, excluded.problem)
    is distinct from (w.uid, w.generation, w.revision, w.problem);
