-- unheard: child runs that are over, and whose parents' steps sleep.  $1 limit
select c.id from leat.run c
join leat.step s on s.run_id = c.parent_id and s.scope = c.parent_scope and s.id = c.parent_step and s.state = 3
  and s.attempt - s.broken_off = c.parent_try
where c.awaited and c.finished_at is not null limit $1;
