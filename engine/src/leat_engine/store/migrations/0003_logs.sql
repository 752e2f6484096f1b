-- What steps say, and what running ones wait for. Nothing of the hot path reads or writes these.
create sequence leat.log_seq;

create table leat.log (
  run_id  uuid not null,
  seq     bigint not null default nextval('leat.log_seq'),   -- ascends within a run in the order of the commits
  scope   integer not null,
  step_id integer not null,
  attempt integer not null,
  at      timestamptz not null,
  stream  text not null,
  text    text not null,
  primary key (run_id, seq)
) partition by range (run_id);

alter table leat.step add column note text;                              -- what a claimed step waits for
alter table leat.run add column noted boolean not null default false;    -- some step of the run had a note, once
