-- look: runs that were not looked at yet, by id; those that are not over are remembered, as far as there is room.
-- $1 after this id  $2 up to this one  $3 limit  $4 most that are remembered
with new as materialized (
  select id, finished_at is not null as over from leat.run where id > $1 and id <= $2 order by id limit $3
), kept as (
  insert into leat.unfolded (run_id) select id from new
  where not over and (select count(*) from (select from leat.unfolded limit $4) u) < $4
  on conflict do nothing
)
select id, over from new order by id;
