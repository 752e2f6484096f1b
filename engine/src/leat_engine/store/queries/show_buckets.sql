-- show_buckets: rate limits with starts to come: after so many seconds the last one in the line has started.  $1 namespace, or null
select namespace, key, (greatest(line, spent) - extract(epoch from now()))::float8 as seconds from leat.bucket
where greatest(line, spent) > extract(epoch from now()) and ($1::text is null or namespace = $1)
order by namespace, key limit 1000;
