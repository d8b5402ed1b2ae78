-- Make a waiting job another one: kind, args, queue and terms become the new ones, attempts and errors start again.
--
-- Answers a row if it was still waiting and nobody else had it in hand, and whether it was replaced: where the lists that
-- are to be put together grow too long for one job, it only becomes due now.
--   $1 its id  $2 the new job, as follow-ups are written (JSON)  $3 whether its time stays  $4 how many seconds after it was
--   first inserted it is due at the latest, or null  $5 the list of the args in which both come one after the other, or null
--   $6 bytes of args at most  $7 the channel to notify
-- Who waited for a row here while holding a key could be waited for by whoever has the row.
-- Stands on: job's primary key.
-- Called by: whatever inserts a job whose key says so.
with next as materialized (
    select *
    from jsonb_to_record($2::text::jsonb) as next (
        kind text, queue text, lane text, pool text, priority smallint, max_attempts integer, timeout_seconds real,
        scheduled_at timestamptz, delay_seconds float8, pending boolean,
        args jsonb, retry jsonb, tags text[], metadata jsonb, on_discard jsonb, context jsonb,
        deadline_at timestamptz, deadline_seconds float8
    )
),
locked as materialized (
    select id, created_at, scheduled_at, args
    from {schema}.job
    where id = $1::bigint and state in ('available', 'scheduled', 'retryable', 'pending', 'waiting')
    for update skip locked
),
merged as materialized (
    select locked.id, locked.scheduled_at, made.args, octet_length(made.args::text) <= $6 as fits,
           least(
               case when $3 then locked.scheduled_at
                    else coalesce(next.scheduled_at, statement_timestamp() + make_interval(secs => next.delay_seconds))
               end,
               locked.created_at + make_interval(secs => $4)
           ) as due_at
    from locked
    cross join next
    cross join lateral (
        select case when $5::text is null then next.args
                    else next.args || jsonb_build_object(
                        $5, coalesce(locked.args -> $5, '[]') || coalesce(next.args -> $5, '[]')
                    )
               end as args
    ) as made
),
replaced as (
    update {schema}.job
    set kind = next.kind, queue = next.queue, lane = next.lane, pool = next.pool, priority = next.priority,
        max_attempts = next.max_attempts, timeout_seconds = next.timeout_seconds, args = merged.args,
        retry = next.retry, tags = next.tags, metadata = next.metadata, on_discard = next.on_discard,
        deadline_at = case when next.deadline_seconds is null then next.deadline_at
                           else statement_timestamp() + make_interval(secs => next.deadline_seconds) end,
        context = next.context, progress = null, checkpoint = null,
        scheduled_at = merged.due_at,
        state = case when next.pending then 'pending'
                     when merged.due_at > statement_timestamp() then 'scheduled'
                     else 'available' end::{schema}.job_state,
        attempt = 0, errors = null, client = null, attempted_at = null, attempted_by = null, is_counted = null
    from merged, next
    where job.id = $1::bigint and job.id = merged.id and merged.fits
    returning job.id, job.pool, job.state
),
hurried as (
    update {schema}.job
    set scheduled_at = least(job.scheduled_at, statement_timestamp()),
        state = case when job.state in ('scheduled', 'retryable') then 'available' else job.state end
    from merged
    where job.id = $1::bigint and job.id = merged.id and not merged.fits
    returning job.id, job.pool, job.state
),
woken as (
    select pg_notify($7, pool)
    from (select pool, state from replaced union all select pool, state from hurried) as changed
    where state = 'available' and exists (
        select from {schema}.idle where idle.pool = changed.pool and idle.until > statement_timestamp()
    )
)
select id, exists (select from replaced) as replaced, (select count(*) from woken) as woken
from merged
