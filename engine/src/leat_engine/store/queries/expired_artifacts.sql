-- expired_artifacts: runs that are gone and have left objects, the oldest first.  $1 first id that is too young to be gone  $2 how many
select a.run_id, min(a.namespace) as namespace from leat.artifact a
where a.run_id < $1::uuid and not exists (select from leat.run r where r.id = a.run_id)
group by a.run_id order by a.run_id limit $2;
