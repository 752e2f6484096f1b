-- run: one run.  $1 id
select * from leat.run where id = $1;
