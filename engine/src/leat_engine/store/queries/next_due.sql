-- next_due: seconds until the next timer, at least 0; null without timers.
select greatest(0, extract(epoch from min(due_at) - now()))::float8 from leat.timer;
