-- write_logs: lines that steps said.  $1 run  $2 scope  $3 step  $4 attempt  $5 at  $6 stream  $7 text  $8 runner
-- Who writes lines of a run locks the others out until they can be read: a reader that goes on behind the last `seq` it saw misses none.
-- A dead runner's last words are refused: whoever took the step over has heard them too. Lock order: runner, lines of a run.
with heard as materialized (
  select id from leat.runner where id = any($8::int[]) and alive order by id for key share
), alone as materialized (
  select pg_advisory_xact_lock(7847, h) from (select distinct hashtext(r::text) as h from unnest($1::uuid[]) r order by h) o, (select count(*) from heard) first
), ordered as materialized (
  select count(*) from alone
)
insert into leat.log (run_id, scope, step_id, attempt, at, stream, text)
select l.run_id, l.scope, l.step, l.attempt, l.at, l.stream, l.text
from ordered, unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::timestamptz[], $6::text[], $7::text[], $8::int[]) with ordinality
  as l(run_id, scope, step, attempt, at, stream, text, runner, ord)
where (l.runner in (select id from heard)) is true
order by l.ord;
