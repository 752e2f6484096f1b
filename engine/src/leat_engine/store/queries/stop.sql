-- stop: mark a run as stopping; the first reason stays. A run that cleans up goes on with that.  $1 run  $2 phase  $3 error
update leat.run set stopping = $2, error = $3 where id = $1 and phase < 4 and stopping is null and outcome is null returning id;
