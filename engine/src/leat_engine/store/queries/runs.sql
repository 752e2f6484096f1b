-- runs: newest first.  $1 namespace or null  $2 limit
select * from leat.run where $1::text is null or namespace = $1 order by id desc limit $2;
