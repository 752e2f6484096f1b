-- forget_durations: steps of which nothing was heard for so long.  $1 seconds
delete from leat.duration where updated_at < now() - make_interval(secs => $1);
