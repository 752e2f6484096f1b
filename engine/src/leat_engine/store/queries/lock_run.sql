-- lock_run: nobody else changes the run until this transaction ends.  $1 run
select phase, stopping from leat.run where id = $1 for no key update;
