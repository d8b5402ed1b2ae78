-- Find what was inserted under some insert_ids: each key, and its job as it is now; nulls if its history has ended.
--
--   $1 insert_ids
-- Stands on: insert_key's primary key, the primary keys of job and job_finalized.
-- Called by: whatever inserts a job that has an insert_id, for those that were there already.
select asked.insert_id, known.job, known.created_at, stored.*
from unnest($1::text[]) as asked (insert_id)
join lateral (
    -- One by one, here and below, by the indexes: joined at once, the tables may be read whole.
    select job, created_at
    from {schema}.insert_key
    where insert_id = asked.insert_id::uuid
    limit 1
) as known on true
left join lateral (
    select id, kind, args::text, queue, pool, state, priority, attempt, max_attempts, timeout, created_at, scheduled_at,
           attempted_at, attempted_by, finalized_at, errors::text, tags, metadata::text, output::text,
           context::text, progress::text, checkpoint::text, deadline_at
    from {schema}.job_all
    where id = known.job
    limit 1
) as stored on true
