-- forget_schedules: forget the schedules of a workflow, but for those of these names.  $1 namespace  $2 workflow  $3 names
delete from leat.trigger where namespace = $1 and workflow = $2 and name <> all($3::text[]);
