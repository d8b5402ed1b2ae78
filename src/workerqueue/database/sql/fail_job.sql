-- Fail a live job by hand: it is tried again after a delay, or discarded with its follow-up where no attempt is left.
--
-- A run of it that is under way is stale from then on; one that is not counts as an attempt.
--   $1 its id  $2 the attempt that ends so, which must still be the one  $3 the delay in seconds
--   $4 the error's entry (JSON without its time)  $5 the channel to notify
-- Answers as cancel_jobs.sql does; nothing, where it has had another attempt meanwhile.
-- Stands on: job's primary key.
-- Called by: client.jobs.
with found as materialized (
    select id, state, queue, max_attempts <= $2 as is_last
    from {schema}.job
    where id = $1::bigint and $2 = case when state = 'running' then attempt else least(attempt, 32766) + 1 end
    for update
),
ended as (
    delete from {schema}.job
    where id = any (array(select id from found where is_last))
    returning id, kind, queue, pool, priority, $2::smallint as attempt, max_attempts, timeout_seconds, created_at,
              scheduled_at, deadline_at, attempted_at, client, attempted_by, args, errors, tags, metadata, retry,
              on_discard, context, progress, checkpoint, 'discarded'::{schema}.job_state as final_state,
              jsonb_build_object('at', statement_timestamp()) || $4::text::jsonb as entry, null::jsonb as output,
              true as follows
),
{part finalize},
{part follow},
returned as (
    update {schema}.job
    set state = 'retryable', lease = null, attempt = $2, cancel_requested_at = null,
        scheduled_at = statement_timestamp() + make_interval(secs => $3),
        errors = case when jsonb_array_length(errors) >= 100 then errors - 0 else coalesce(errors, '[]') end
                 || (jsonb_build_object('at', statement_timestamp()) || $4::text::jsonb)
    where id = any (array(select id from found where not is_last))
),
woken as (
    select pg_notify($5, pool)
    from (select distinct pool from followed where state = 'available') as ready
    where exists (
        select from {schema}.idle where idle.pool = ready.pool and idle.until > statement_timestamp()
    )
)
select id, true as ok, case state when 'waiting' then 'pending' else state::text end as state, queue,
       (select count(*) from woken) as woken
from found
