-- sent: whether a run has a signal already, and how many nobody has taken yet.  $1 run  $2 signal
select exists (select from leat.signal where run_id = $1 and id = $2) as known,
  (select count(*) from leat.signal where run_id = $1 and scope is null) as unread;
