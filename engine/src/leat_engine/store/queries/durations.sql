-- durations: what is known of the steps of workflows.  $1 namespaces  $2 workflows, beside them
select d.namespace, d.workflow, d.step, d.kind, d.facts from unnest($1::text[], $2::text[]) as w(namespace, workflow)
join leat.duration d on d.namespace = w.namespace and d.workflow = w.workflow;
