-- look_again: of the runs that were not over, those that are now; looked at are those that nobody has looked at for longest.
-- $1 limit
with old as materialized (
  select run_id from leat.unfolded order by looked_at limit $1
), state as materialized (           -- a run that is not there any more is over too
  select o.run_id, r.id is null or r.finished_at is not null as over from old o left join leat.run r on r.id = o.run_id
), gone as (
  delete from leat.unfolded u using state s where s.over and u.run_id = s.run_id
), later as (
  update leat.unfolded u set looked_at = clock_timestamp() from state s where not s.over and u.run_id = s.run_id
)
select run_id from state where over;
