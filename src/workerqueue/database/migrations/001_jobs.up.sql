-- The two homes of a job and the view over both: `job` holds what is live and stays small, however long the
-- history; `job_finalized` holds what has ended. Defaults are there for producers that write plain SQL.
-- `waiting` is for its turn in a dynamic queue; readers see it as `pending`, which jobs are that were parked by hand.
create type {schema}.job_state as enum (
    'available', 'scheduled', 'pending', 'waiting', 'running', 'retryable', 'completed', 'cancelled', 'discarded'
);

-- The clients that have worked here, a row for every start. Jobs name them by number: a text would be written twice in
-- the life of every job. One that is not ended and has not been beaten for a while is dead.
create table {schema}.client (
    number     integer generated always as identity primary key,
    id         text not null,
    host       text not null,
    pid        integer not null,
    pools      text[] not null,
    kinds      text[] not null,
    started_at timestamptz not null default statement_timestamp(),
    heartbeat_at    timestamptz not null default statement_timestamp(),
    ended_at   timestamptz,
    ended_as   text check (ended_as in ('stopped', 'lost')),
    check ((ended_at is null) = (ended_as is null))
);

-- What a beat looks at: who is alive, and who should be.
create index client_alive on {schema}.client (heartbeat_at) where ended_at is null;

-- Who does the chores, until when; every change of hands is a term.
create table {schema}.leader (
    name   text primary key default 'leader' check (name = 'leader'),
    client integer not null,
    term   bigint not null,
    until  timestamptz not null
);

-- The widest columns first, so that no row holds a gap: a job is written three times.
create table {schema}.job (
    id              bigint generated always as identity primary key,
    lease           bigint,
    created_at      timestamptz not null default statement_timestamp(),
    scheduled_at    timestamptz not null default statement_timestamp(),
    attempted_at    timestamptz,
    cancel_requested_at timestamptz,    -- when whoever runs it was asked to stop
    deadline_at     timestamptz,    -- when nobody wants it any more, done or not
    client          integer,    -- who works it or did so last; who did so before is in attempted_by
    timeout_seconds real not null default 60 check (timeout_seconds > 0 and timeout_seconds <= 3155760000),
    state           {schema}.job_state not null default 'available',
    attempt         smallint not null default 0 check (attempt >= 0),
    max_attempts    smallint not null default 3 check (max_attempts > 0),
    priority        smallint not null default 1,
    kind            text not null check (length(kind) between 1 and 128),
    pool            text not null default 'default' check (length(pool) between 1 and 128),
    queue           text check (length(queue) between 1 and 128),    -- the dynamic one, if it waits in one
    lane            text collate "C",    -- where its pool or kind has rules: what they tell jobs apart by
    is_counted      boolean,    -- whether it was claimed under rules, and counts while it runs
    args            jsonb not null default '{}' check (jsonb_typeof(args) = 'object'),
    attempted_by    integer[],
    errors          jsonb check (jsonb_typeof(errors) = 'array'),
    tags            text[],
    metadata        jsonb check (jsonb_typeof(metadata) = 'object'),
    retry           jsonb check (jsonb_typeof(retry) = 'object'),
    on_discard      jsonb check (jsonb_typeof(on_discard) = 'object' and on_discard ? 'kind'),
    context         jsonb check (jsonb_typeof(context) = 'object'),    -- for whom, and on whose behalf
    progress        jsonb,    -- how far its worker says it is
    checkpoint      jsonb,    -- what its worker saved for its next attempt
    check (state in ('available', 'scheduled', 'pending', 'waiting', 'running', 'retryable')),
    check (state <> 'waiting' or queue is not null),
    check ((state = 'running') = (lease is not null)),
    -- The client's own limit is 1 MiB of JSON, of which jsonb may make six times as much.
    check (pg_column_size(args) <= 8388608),
    -- What a client can read: one row it can't would keep it from every other row of its batch.
    check (created_at >= '0002-01-01 00:00+00' and created_at < '9999-01-01 00:00+00'),
    check (scheduled_at >= '0002-01-01 00:00+00' and scheduled_at < '9999-01-01 00:00+00')
);

-- What a claim walks: the jobs that are ready, in the order they run.
create index job_ready on {schema}.job (pool, priority, scheduled_at, id) where state = 'available' and lane is null;

-- The same where rules tell jobs apart (choose_jobs.sql): lane by lane.
create index job_lane on {schema}.job (pool, lane, priority, scheduled_at, id)
where state = 'available' and lane is not null;

-- What limits count: what runs and was claimed under them.
create index job_counted on {schema}.job (pool, kind, lane, client) where state = 'running' and is_counted;

-- Whom a beat tells to stop.
create index job_asked on {schema}.job (client) where cancel_requested_at is not null;

-- What a dynamic queue's turn goes by: those of its jobs that could run, in the order they run.
create index job_turn on {schema}.job (queue, priority, scheduled_at, id)
where queue is not null and state in ('available', 'waiting');

-- The dynamic queues that run a job now, or whose next one is being found: a name that is empty has no row.
create table {schema}.dynamic_queue (
    name    text primary key,
    jobs    bigint[] not null,    -- those that have their turn; who ends one of them sees to the next
    most    smallint not null check (most > 0),    -- how many may run at once
    strict  boolean not null default false,    -- whether a job keeps its turn until it is over, tried again or not
    waiting boolean not null    -- whether any were set aside; if not, the last to end deletes the row
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- What was said of queues at run time: configured ones, dynamic ones by name, and `*` for all.
create table {schema}.queue (
    name         text primary key check (length(name) between 1 and 128),
    paused_at    timestamptz,
    max_workers  integer check (max_workers between 1 and 10000),
    global_limit integer check (global_limit >= 1),
    rate_starts  integer check (rate_starts >= 1),
    rate_seconds real check (rate_seconds > 0),
    burst        integer check (burst >= 1),
    is_added     boolean not null default false,    -- a queue that is in nobody's configuration
    is_ruled     boolean not null generated always as (global_limit is not null or rate_starts is not null) stored,
    changed_at   timestamptz not null default statement_timestamp(),
    check ((rate_starts is null) = (rate_seconds is null))
);

-- What claims look at: the queues of which not everything that comes first may be taken.
create index queue_barred on {schema}.queue (name) where paused_at is not null or is_ruled;

-- Whose claims take turns, by queue or kind, where rules count them; and how many they started lately, where a rate
-- needs to know.
create table {schema}.gate (
    name      text collate "C" primary key,    -- as lanes are, of which parts of it are made
    started   timestamptz[] not null default '{}',    -- when; rounded up where there are many
    starts    integer[] not null default '{}',    -- how many
    spread_to timestamptz,    -- when what was started would have been, one by one at the rate: what a burst is measured by
    until     timestamptz not null default statement_timestamp()    -- when none of this matters any more
);

-- What the scheduler walks: the jobs that wait for their time.
create index job_due on {schema}.job (scheduled_at, id) where state in ('scheduled', 'retryable');

-- What applications keep here of their own: JSON by key, and leases that are held by one, or by so many, at a time.
create table {schema}.value (
    key        text collate "C" primary key,
    value      jsonb not null,
    expires_at timestamptz
) with (fillfactor = 80);
create index value_expiring on {schema}.value (expires_at) where expires_at is not null;
create table {schema}.lease (
    key   text collate "C" not null,
    place integer not null,
    token bigint not null,
    fence bigint not null,
    until timestamptz not null,
    primary key (key, place)
) with (fillfactor = 80);
create index lease_old on {schema}.lease (until);

-- What inserts jobs again and again: when it fires next is moved on in the transaction that inserts them.
create table {schema}.schedule (
    name       text primary key check (length(name) between 1 and 128),
    definition jsonb not null check (jsonb_typeof(definition) = 'object'),
    next_at    timestamptz,    -- null: it fires no more
    last_at    timestamptz,
    paused_at  timestamptz,
    last_error text    -- what kept the jobs of its last time from being made
);

-- What was inserted under an id of the caller's own, so that it is not inserted again: apart from the jobs, since most
-- have no such id, and a job's history may end before its key does. A key is kept for a day.
create table {schema}.insert_key (
    insert_id  uuid primary key,
    job        bigint not null,
    created_at timestamptz not null default statement_timestamp()
);
create index insert_key_old on {schema}.insert_key (created_at);

-- What keeps two jobs from being one too many: the keys that callers gave and those that unique options make, and the
-- job that has each, or was the last to have it. A key counts while its job is live, which whoever inserts under it
-- looks up; so that ends of jobs have nothing to do with it.
create table {schema}.job_key (
    key         text collate "C" primary key,
    job         bigint,
    ttl_seconds float8,    -- how long it counts after its job has ended
    until       timestamptz    -- when that is, noted before the job's history ends
) with (fillfactor = 70);
create index job_key_ttl on {schema}.job_key (key) where ttl_seconds is not null and until is null;

-- By day, so that retention drops a day's table instead of deleting its rows. Clients make the coming days' tables
-- ahead of time; what finds none lands in the default one.
create table {schema}.job_finalized (
    id              bigint not null,
    created_at      timestamptz not null,
    scheduled_at    timestamptz not null,
    attempted_at    timestamptz,
    deadline_at     timestamptz,
    finalized_at    timestamptz not null default statement_timestamp(),
    client          integer,
    timeout_seconds real not null,
    state           {schema}.job_state not null check (state in ('completed', 'cancelled', 'discarded')),
    attempt         smallint not null,
    max_attempts    smallint not null,
    priority        smallint not null,
    kind            text not null,
    pool            text not null,
    queue           text,
    args            jsonb not null,
    attempted_by    integer[],
    errors          jsonb,
    tags            text[],
    metadata        jsonb,
    retry           jsonb,
    on_discard      jsonb,
    context         jsonb,
    progress        jsonb,
    checkpoint      jsonb,
    output          jsonb,
    primary key (id, finalized_at)
) partition by range (finalized_at);
create table {schema}.job_finalized_default partition of {schema}.job_finalized default;

-- How many jobs ended in each queue and state, by the day (UTC) whose table has them: a row for each batch that ended,
-- and fewer for what is deleted again, which a chore adds up; so that to count the history takes no look at it.
create table {schema}.tally (
    day   date not null,
    pool  text not null,
    state {schema}.job_state not null,
    jobs  bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- Which clients wait to be told of new jobs, by pool: only then does an insert notify, since NOTIFY takes a lock
-- that all commits with one share. Unlogged: after a crash nobody waits.
create unlogged table {schema}.idle (
    pool   text not null,
    client text not null,
    until  timestamptz not null,
    primary key (pool, client)
);

-- Who wants to be told of what happens, on which channel. Unlogged: after a crash its listener is gone as well.
create unlogged table {schema}.subscriber (
    channel text primary key,
    types   text[],
    kinds   text[],
    until   timestamptz not null
);

-- Every job, for reading: its queue by name, its clients by their ids, its timeout as an interval.
create view {schema}.job_all as
select id, kind, coalesce(queue, pool) as queue, pool,
       case state when 'waiting' then 'pending' else state::text end as state, priority, attempt, max_attempts,
       make_interval(secs => timeout_seconds) as timeout, created_at, scheduled_at, deadline_at, attempted_at,
       (
           select array_agg(coalesce(
               (select client.id from {schema}.client where client.number = worker.number), worker.number::text
           ) order by place)
           from unnest(attempted_by || every.client) with ordinality as worker (number, place)
           where worker.number is not null
       ) as attempted_by,
       finalized_at, args, errors, tags, metadata, retry, on_discard, context, progress, checkpoint, output
from (
    select id, kind, queue, pool, state, priority, attempt, max_attempts, timeout_seconds, created_at, scheduled_at,
           deadline_at, attempted_at, client, attempted_by, null::timestamptz as finalized_at, args, errors, tags,
           metadata, retry, on_discard, context, progress, checkpoint, null::jsonb as output
    from {schema}.job
    union all
    select id, kind, queue, pool, state, priority, attempt, max_attempts, timeout_seconds, created_at, scheduled_at,
           deadline_at, attempted_at, client, attempted_by, finalized_at, args, errors, tags, metadata, retry,
           on_discard, context, progress, checkpoint, output
    from {schema}.job_finalized
) as every;
