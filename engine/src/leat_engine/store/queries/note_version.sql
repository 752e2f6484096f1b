-- note_version: a Workflow has this revision now.  $1 namespace  $2 workflow  $3 revision
-- One that it had before has come back, unless it is still the newest: an operator that starts tells it again.
with newest as (
  select revision from leat.version where namespace = $1 and workflow = $2
  order by coalesce(returned_at, applied_at) desc limit 1
)
insert into leat.version (namespace, workflow, revision) values ($1, $2, $3)
on conflict (namespace, workflow, revision) do update set returned_at = now()
where excluded.revision <> (select revision from newest);
