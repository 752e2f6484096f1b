-- interrupt: tell the runners that have claims in a run to interrupt them.  $1 run
insert into leat.interrupt (runner, run_id) select runner, run_id from leat.hold where run_id = $1
on conflict (runner, run_id) do update set partly = false;
