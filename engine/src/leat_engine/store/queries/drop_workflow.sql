-- drop_workflow: a Workflow is gone.  $1 namespace  $2 name  $3 uid
delete from leat.workflow where namespace = $1 and name = $2 and uid = $3;
