-- freeze: nobody else changes the run until this transaction ends.  $1 run
select * from leat.run where id = $1 for no key update;
