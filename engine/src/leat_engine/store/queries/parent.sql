-- parent: what a run says to a child that a claimed step of it starts.  $1 runner  $2 run  $3 scope  $4 step  $5 attempt
-- The caller holds the run's lock, and took it with a statement of its own. Nothing for a step that is not ours.
select r.suspended, r.priority, r.depth, r.children, r.hidden, extract(epoch from t.due_at - now())::float8 as seconds
from leat.step s join leat.run r on r.id = s.run_id
left join leat.timer t on t.run_id = r.id and t.scope = 0 and t.step_id = 0
where s.run_id = $2 and s.scope = $3 and s.id = $4 and s.attempt = $5 and s.state = 2 and s.runner = $1;
