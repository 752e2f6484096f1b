-- quotas: what namespaces are allowed, of those that have or had a quota.
select namespace, active_runs, starts_per_minute, steps from leat.quota;
