-- reports: runs whose resource is behind, oldest first.  $1 limit
select p.version, r.* from leat.report p join leat.run r on r.id = p.run_id order by p.version limit $1;
