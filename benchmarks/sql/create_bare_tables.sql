-- Make the measured layout (design.md, section 4): live jobs under one partial index, finalized jobs apart.
--
-- This copy is the yardstick: it stays as it is whatever the library's own tables become.
-- Called by: BareQueue.create.
create schema {schema};

create table {schema}.live (
    id           bigint generated always as identity primary key,
    lease        bigint,
    created_at   timestamptz not null default statement_timestamp(),
    scheduled_at timestamptz not null default statement_timestamp(),
    attempted_at timestamptz,
    timeout      interval not null default '60 s',
    attempt      integer not null default 0,
    max_attempts integer not null default 3,
    priority     smallint not null default 1,
    state        text not null default 'available',
    kind         text not null,
    queue        text not null default 'default',
    pool         text not null default 'default',
    attempted_by text[],
    args         jsonb not null,
    errors       jsonb,
    tags         text[],
    metadata     jsonb
);

create index live_ready on {schema}.live (pool, priority, scheduled_at, id) where state = 'available';

create table {schema}.finalized (
    id           bigint primary key,
    created_at   timestamptz not null,
    scheduled_at timestamptz not null,
    attempted_at timestamptz,
    finalized_at timestamptz not null default statement_timestamp(),
    timeout      interval not null,
    attempt      integer not null,
    max_attempts integer not null,
    priority     smallint not null,
    state        text not null,
    kind         text not null,
    queue        text not null,
    pool         text not null,
    attempted_by text[],
    args         jsonb not null,
    errors       jsonb,
    tags         text[],
    metadata     jsonb,
    output       jsonb
);
