-- hide: texts that a run has got from another one, where they are sensitive.  $1 run  $2 texts
update leat.run set hidden = (select array_agg(distinct t) from unnest(coalesce(hidden, '{}') || $2::text[]) t)
where id = $1 and not coalesce(hidden, '{}') @> $2::text[];
