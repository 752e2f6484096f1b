-- drop_artifacts: nothing is left of a run that is gone.  $1 run
delete from leat.artifact a where a.run_id = $1 and not exists (select from leat.run r where r.id = a.run_id);
