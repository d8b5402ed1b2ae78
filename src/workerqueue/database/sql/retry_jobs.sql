-- Make jobs available now that wait for their time or have ended; with one more attempt where none is left.
--
--   $1 ids  $2 the channel to notify
-- Answers each job found: whether it is available or waits for its turn now, and its state before.
-- Stands on: the primary keys of job and job_finalized.
-- Called by: client.jobs.
with found as materialized (
    select id, state from {schema}.job where id = any ($1::bigint[]) order by id for update
),
put as (
    update {schema}.job
    set state = 'available', scheduled_at = statement_timestamp(), cancel_requested_at = null,
        max_attempts = greatest(max_attempts, least(attempt, 32766) + 1)
    where id = any (array(select id from found where state in ('scheduled', 'retryable', 'pending')))
    returning id, pool
),
deleted as (
    delete from {schema}.job_finalized where id = any ($1::bigint[])
    returning *
),
{part untally},
back as (
    insert into {schema}.job (
        id, kind, queue, pool, state, priority, attempt, max_attempts, timeout_seconds, created_at, scheduled_at,
        attempted_at, client, attempted_by, args, errors, tags, metadata, retry, on_discard,
        context, progress, checkpoint, deadline_at
    )
    overriding system value
    select id, kind, queue, pool, 'available', priority, attempt, greatest(max_attempts, least(attempt, 32766) + 1),
           timeout_seconds, created_at, statement_timestamp(), attempted_at, client, attempted_by, args, errors, tags,
           metadata, retry, on_discard, context, progress, checkpoint, deadline_at
    from deleted
    returning id, pool
),
woken as (
    select pg_notify($2, pool)
    from (select pool from put union select pool from back) as ready
    where exists (
        select from {schema}.idle where idle.pool = ready.pool and idle.until > statement_timestamp()
    )
)
select id, state <> 'running' as ok, case state when 'waiting' then 'pending' else state::text end as state,
       null::text as queue, (select count(*) from woken) as woken
from found
union all
select id, true, state::text, null, null from deleted
