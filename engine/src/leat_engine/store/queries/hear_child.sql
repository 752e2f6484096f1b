-- hear_child: a child run, to the step that started it. One that is over is awaited no more.  $1 child
with heard as (
  update leat.run set awaited = false where id = $1 and awaited and finished_at is not null
)
select * from leat.run where id = $1;
