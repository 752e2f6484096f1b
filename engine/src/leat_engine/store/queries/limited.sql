-- limited: namespaces where a quota limits runs, or steps.
select namespace, active_runs is not null or starts_per_minute is not null as runs, steps is not null as steps from leat.quota
where active_runs is not null or starts_per_minute is not null or steps is not null;
