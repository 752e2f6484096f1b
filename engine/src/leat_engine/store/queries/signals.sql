-- signals: what a run was told, in that order.  $1 run  $2 limit
select * from leat.signal where run_id = $1 order by seq limit $2;
