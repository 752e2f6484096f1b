-- logs: lines of a run behind a cursor, in the order they became readable.  $1 run  $2 step or null  $3 attempt or null  $4 after  $5 limit
select seq, at, scope, step_id, attempt, stream, text from leat.log
where run_id = $1 and seq > $4 and ($2::int is null or step_id = $2) and ($3::int is null or attempt = $3)
order by seq limit $5;
