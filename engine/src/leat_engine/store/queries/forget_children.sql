-- forget_children: ends of child runs that no parent will ask for any more.
update leat.run c set awaited = false
where c.awaited and c.finished_at is not null
  and not exists (select from leat.run p where p.id = c.parent_id and p.phase < 4);
