-- unfinished: runs with a resource that are not over, by id.  $1 after this id, or null  $2 limit
select * from leat.run where finished_at is null and uid is not null and ($1::uuid is null or id > $1) order by id limit $2;
