-- prioritise: a run that is not over has another priority.  $1 run  $2 priority
-- Its ready steps follow by `reorder`, a statement of its own: this one may have waited for a commit whose rows only the
-- next one sees.
update leat.run set priority = $2 where id = $1 and phase < 4 and priority <> $2 returning id;
