-- save_revision: $1 id  $2 namespace  $3 workflow  $4 spec
insert into leat.revision (id, namespace, workflow, spec) values ($1, $2, $3, $4) on conflict (id) do nothing;
