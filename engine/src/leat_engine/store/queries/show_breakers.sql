-- show_breakers: breakers that have counted failures, or are open.  $1 namespace, or null
select namespace, key, failures, open_until, extract(epoch from now())::float8 as now from leat.breaker
where (open_until is not null or cardinality(failures) > 0) and ($1::text is null or namespace = $1)
order by namespace, key limit 1000;
