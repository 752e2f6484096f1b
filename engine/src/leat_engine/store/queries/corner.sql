-- corner: whoever is claiming a step of the run has done so, and nobody else can until this transaction ends.  $1 run
select scope, step_id from leat.ready where run_id = $1 for update;
