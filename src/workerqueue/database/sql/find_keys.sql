-- Find the jobs that have some keys, as they are now; nulls for a key that no job has had, or whose history has ended.
--
--   $1 keys
-- A statement of its own, after the keys are held: it sees what was committed while they were waited for.
-- Stands on: job_key's primary key, the primary keys of job and job_finalized.
-- Called by: whatever inserts a job that has a key.
select asked.key, held.job,
       -- Noted when the history was about to end, and counted from there before that.
       coalesce(
           coalesce(held.until, stored.finalized_at + make_interval(secs => held.ttl_seconds)) > statement_timestamp(),
           false
       ) as is_kept,
       statement_timestamp() as at, stored.*
from unnest($1::text[]) as asked (key)
join lateral (
    select job, ttl_seconds, until from {schema}.job_key where key = asked.key limit 1
) as held on true
left join lateral (
    select id, kind, args::text, queue, pool, state, priority, attempt, max_attempts, timeout, created_at, scheduled_at,
           attempted_at, attempted_by, finalized_at, errors::text, tags, metadata::text, output::text,
           context::text, progress::text, checkpoint::text, deadline_at
    from {schema}.job_all
    where id = held.job
    limit 1
) as stored on true
