-- astray: child runs that are waited for, and are not what is asked of their parents.  $1 limit
-- `adrift`: nobody waits for it any more: the parent stops or has stopped, or its step is over, or at its next try.
select * from (
  select c.id, c.suspended <> p.suspended as resting, p.suspended, c.priority <> p.priority as reordered, p.priority,
    p.name as parent, c.stopping is null as going, c.outcome is not null as cleaning, c.depth,
    p.phase >= 4 or p.stopping is not null or s.state is null or s.state not in (1, 2, 3)
      or s.attempt - s.broken_off <> c.parent_try as adrift
  from leat.run c join leat.run p on p.id = c.parent_id
  left join leat.step s on s.run_id = c.parent_id and s.scope = c.parent_scope and s.id = c.parent_step
  where c.awaited and c.finished_at is null
) k
where reordered or going and (adrift and not cleaning or resting and not adrift)  -- a cleanup is not broken off
order by depth limit $1;
