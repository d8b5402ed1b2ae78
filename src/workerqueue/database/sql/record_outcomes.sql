-- Write how runs ended, all outcomes alike, and answer which writes were accepted.
--
-- A write is accepted only while its lease is the run's current one; the ids that are missing from the answer
-- belong to runs that are stale. Final outcomes move the row to job_finalized; a discarded job's follow-up is
-- inserted here, in the same commit. Of the error history the newest 100 entries are kept.
--   $1 ids  $2 leases  $3 states  $4 delays until due, in seconds  $5 whether the start counts
--   $6 error entries (JSON without their time) or null  $7 outputs (JSON) or null; $3 to $7 may be null as a whole,
--   where all runs are completed and have no output  $8 the channel to notify
--   $9 whether to insert follow-ups: not where one was refused before
-- Stands on: job's primary key.
-- Called by: the completer.
with outcome as (
    select id, lease, coalesce(state, 'completed')::{schema}.job_state as state, delay, counts, output::jsonb,
           case when error is not null
                then jsonb_build_object('at', statement_timestamp()) || error::jsonb end as entry
    -- The subscripts are there for the planner alone: of them it expects a thousand rows, of arrays ten, and for
    -- ten it may compare every job with every outcome.
    from rows from (
        unnest($1::bigint[]), unnest($2::bigint[]), unnest($3::text[]), unnest($4::float8[]), unnest($5::boolean[]),
        unnest($6::text[]), unnest($7::text[]), generate_subscripts($1::bigint[], 1)
    ) as outcome (id, lease, state, delay, counts, error, output)
),
ended as (
    delete from {schema}.job
    using outcome
    where job.id = any ($1::bigint[])  -- keeps the planner on the primary key, whatever it thinks of the join
      and job.id = outcome.id and job.lease = outcome.lease
      and outcome.state in ('completed', 'cancelled', 'discarded')
    returning job.*, outcome.state as final_state, outcome.entry, outcome.output
),
finalized as (
    insert into {schema}.job_finalized (
        id, kind, queue, pool, state, priority, attempt, max_attempts, timeout_seconds, created_at, scheduled_at,
        attempted_at, client, attempted_by, args, errors, tags, metadata, retry, on_discard, output
    )
    select id, kind, queue, pool, final_state, priority, attempt, max_attempts, timeout_seconds, created_at, scheduled_at,
           attempted_at, client, attempted_by, args,
           case when entry is null then errors
                when jsonb_array_length(errors) >= 100 then (errors - 0) || entry
                else coalesce(errors, '[]') || entry end,
           tags, metadata, retry, on_discard, output
    from ended
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
    where $9 and ended.final_state = 'discarded' and ended.on_discard is not null
    returning pool, state
),
returned as (
    update {schema}.job
    set state = outcome.state,
        lease = null,
        attempt = job.attempt - case when outcome.counts then 0 else 1 end,
        -- A run that a stop cut off keeps its place in the order.
        scheduled_at = case when outcome.state = 'available' then job.scheduled_at
                            else statement_timestamp() + make_interval(secs => outcome.delay) end,
        errors = case when outcome.entry is null then job.errors
                      when jsonb_array_length(job.errors) >= 100 then (job.errors - 0) || outcome.entry
                      else coalesce(job.errors, '[]') || outcome.entry end
    from outcome
    where job.id = any ($1::bigint[])
      and job.id = outcome.id and job.lease = outcome.lease
      and outcome.state in ('available', 'scheduled', 'retryable')
    returning job.id, job.pool, job.state
),
woken as (
    select pg_notify($8, pool)
    from (
        select pool from followed where state = 'available'
        union
        select pool from returned where state = 'available'
    ) as ready
    where exists (
        select from {schema}.idle where idle.pool = ready.pool and idle.until > statement_timestamp()
    )
)
select array_agg(id) as accepted, (select count(*) from woken) as woken
from (select id from ended union all select id from returned) as accepted
