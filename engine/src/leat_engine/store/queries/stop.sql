-- stop: mark a run as stopping; the first reason stays.  $1 run  $2 phase  $3 error
update leat.run set stopping = $2, error = $3 where id = $1 and phase < 4 and stopping is null returning id;
