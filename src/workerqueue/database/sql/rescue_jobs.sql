-- Declare clients dead that have not beaten for too long, and free the jobs that no living client runs.
--
-- A start that ended so counts: a job that has one left is available at once, with an entry in its history; one that
-- has none is discarded, and its follow-up inserted in the same commit. No kind needs to be known for that. A job that
-- another transaction holds is left to the next sweep.
--   $1 seconds without a beat after which a client is dead  $2 the channel to notify
-- Reads the live table, when a client has died and once in a while.
-- Called by: the heartbeat of any client, at once where several see the same death.
with dead as (
    update {schema}.client
    set ended_at = statement_timestamp(), ended_as = 'lost'
    where ended_at is null and heartbeat_at < statement_timestamp() - make_interval(secs => $1::float8)
    returning number, id
),
stranded as materialized (
    select job.id, job.lease
    from {schema}.job
    where job.state = 'running'
      and (
          job.client in (select number from dead)
          or not exists (select from {schema}.client where client.number = job.client and client.ended_at is null)
      )
),
lost as materialized (
    select job.id, job.lease
    from {schema}.job
    -- By id and lease: what has been claimed anew since this statement began is another run.
    where job.id = any (array(select id from stranded)) and job.lease = any (array(select distinct lease from stranded))
    order by job.id
    -- A job that another transaction holds may be ending there; whoever waited for it could not beat meanwhile.
    for update skip locked
),
ended as (
    delete from {schema}.job
    where job.id = any (array(select id from lost)) and job.lease = any (array(select distinct lease from lost))
      and job.attempt >= job.max_attempts
    returning job.*
),
finalized as (
    insert into {schema}.job_finalized (
        id, kind, queue, pool, state, priority, attempt, max_attempts, timeout_seconds, created_at, scheduled_at,
        attempted_at, client, attempted_by, args, errors, tags, metadata, retry, on_discard
    )
    select id, kind, queue, pool, 'discarded', priority, attempt, max_attempts, timeout_seconds, created_at,
           scheduled_at, attempted_at, client, attempted_by, args,
           case when jsonb_array_length(errors) >= 100 then errors - 0 else coalesce(errors, '[]') end || entry.written,
           tags, metadata, retry, on_discard
    from ended
    cross join lateral (
        select jsonb_build_object(
            'at', statement_timestamp(), 'attempt', ended.attempt, 'type', 'ClientLost',
            'error', 'the client that ran it is gone', 'trace', null,
            'client', coalesce(
                (select client.id from {schema}.client where client.number = ended.client), ended.client::text
            )
        ) as written
    ) as entry
),
followed as (
    insert into {schema}.job (
        kind, queue, pool, priority, max_attempts, timeout_seconds, state,
        scheduled_at, args, retry, tags, metadata, on_discard
    )
    select next.kind, next.queue, next.pool, next.priority, next.max_attempts,
           next.timeout_seconds,
           case when next.pending then 'pending'
                when due.at > statement_timestamp() then 'scheduled'
                else 'available' end::{schema}.job_state,
           due.at, next.args, next.retry, next.tags, next.metadata, next.on_discard
    from ended
    cross join lateral jsonb_to_record(ended.on_discard) as next (
        kind text, queue text, pool text, priority smallint, max_attempts integer, timeout_seconds real,
        scheduled_at timestamptz, delay_seconds float8, pending boolean,
        args jsonb, retry jsonb, tags text[], metadata jsonb, on_discard jsonb
    )
    cross join lateral (
        select coalesce(next.scheduled_at, statement_timestamp() + make_interval(secs => next.delay_seconds)) as at
    ) as due
    where ended.on_discard is not null
    returning pool, state
),
returned as (
    update {schema}.job
    set state = 'available',
        lease = null,
        errors = case when jsonb_array_length(errors) >= 100 then errors - 0 else coalesce(errors, '[]') end
                 || jsonb_build_object(
                     'at', statement_timestamp(), 'attempt', job.attempt, 'type', 'ClientLost',
                     'error', 'the client that ran it is gone', 'trace', null,
                     'client', coalesce(
                         (select client.id from {schema}.client where client.number = job.client), job.client::text
                     )
                 )
    where job.id = any (array(select id from lost)) and job.lease = any (array(select distinct lease from lost))
      and job.attempt < job.max_attempts
    returning job.pool
),
woken as (
    select pg_notify($2, pool)
    from (select pool from followed where state = 'available' union select pool from returned) as ready
    where exists (
        select from {schema}.idle where idle.pool = ready.pool and idle.until > statement_timestamp()
    )
)
select array(select id from dead) as dead,
       (select count(*) from returned) as returned,
       (select count(*) from ended) as discarded,
       (select count(*) from woken) as woken
