-- workflows: every Workflow that is known.
select namespace, name, uid from leat.workflow order by namespace, name;
