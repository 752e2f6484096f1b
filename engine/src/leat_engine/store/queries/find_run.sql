-- find_run: the newest run of a name.  $1 namespace  $2 name
select * from leat.run where namespace = $1 and name = $2 order by id desc limit 1;
