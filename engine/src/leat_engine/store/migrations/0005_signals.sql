-- What somebody outside tells a run, and the steps that wait for it. Older programs know neither, and are not harmed.
create sequence leat.signal_seq;

create table leat.signal (
  run_id    uuid not null,
  id        text not null,                                    -- the sender's: twice is once
  seq       bigint not null default nextval('leat.signal_seq'),
  name      text not null,
  payload   json,
  approve   boolean,                                          -- of a vote; null of a payload
  comment   text not null default '',
  sent_by   text not null default '',
  sent_at   timestamptz not null default now(),
  scope     integer,                                          -- of the step that has it; null while nobody has
  step_id   integer,
  dismissed text,                                             -- why that step did not take it
  primary key (run_id, id),
  check ((scope is null) = (step_id is null))
) partition by range (run_id);
create index signal_unread on leat.signal (run_id, name, seq) where scope is null;
create index signal_taken on leat.signal (run_id, scope, step_id, seq) where scope is not null;

-- One row per wait, for as long as its run is kept: who takes a step over has to know that it is over.
create table leat.listener (
  run_id   uuid not null,
  scope    integer not null,
  step_id  integer not null,
  name     text not null,
  approval boolean not null,
  rule     json not null,                                     -- what it takes
  until    timestamptz not null,
  called   boolean not null default false,                    -- something came since the step heard last
  closed   boolean not null default false,
  primary key (run_id, scope, step_id)
) partition by range (run_id);
create index listener_open on leat.listener (run_id) where not closed;
