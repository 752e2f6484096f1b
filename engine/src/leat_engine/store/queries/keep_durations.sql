-- keep_durations: what is known of steps from now on.  $1 namespaces  $2 workflows  $3 steps  $4 kinds  $5 facts
insert into leat.duration (namespace, workflow, step, kind, facts)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::json[])
on conflict (namespace, workflow, step) do update set kind = excluded.kind, facts = excluded.facts, updated_at = now();
