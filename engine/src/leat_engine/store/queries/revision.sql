-- revision: $1 id
select id, namespace, workflow, spec from leat.revision where id = $1;
