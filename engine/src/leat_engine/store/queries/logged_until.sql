-- logged_until: when the last line was said that is here of one step.  $1 run  $2 scope  $3 step
select max(at) as at from leat.log where run_id = $1 and scope = $2 and step_id = $3 and stream <> 'leat';
