-- Pools that scale: what a runner holds, and what a pool said that it can do. Older programs bear it.
alter table leat.runner
  add column held_since timestamptz,                         -- start of its oldest running step, as of its heartbeat
  add column draining boolean not null default false;        -- it takes nothing more, and goes when it is done

-- The last word of each pool, so that a pool without runners is known as well.
create table leat.pool (
  name         text primary key,
  revision     text not null,                                -- of the RunnerPool's pods; '' for runners without one
  kinds        text[] not null,
  functions    text[] not null,
  slots        integer not null,
  announced_at timestamptz not null default now()
);
