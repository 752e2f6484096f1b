-- report: the resource of a run is behind.  $1 run
insert into leat.report (run_id) values ($1) on conflict (run_id) do update set version = nextval('leat.report_version');
