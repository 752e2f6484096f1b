-- of_workflow: a revision, if the workflow has had it.  $1 namespace  $2 workflow  $3 revision
-- What others say with the same words is the same row: whose it was first tells nothing.
select id, $1::text as namespace, $2::text as workflow, spec from leat.revision
where id = $3 and (
  exists (select from leat.version v where v.namespace = $1 and v.workflow = $2 and v.revision = $3)
  or exists (select from leat.run r where r.namespace = $1 and r.workflow = $2 and r.revision = $3)
);
