-- reported: the resource has caught up, unless the run moved on meanwhile.  $1 run  $2 version
delete from leat.report p using unnest($1::uuid[], $2::bigint[]) as d(run_id, version)
where p.run_id = d.run_id and p.version = d.version;
