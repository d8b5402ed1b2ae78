-- List jobs, live and finalized, newest first.
--
--   $1 ids below which to begin, or null  $2 states  $3 kinds  $4 queues  $5 pools  $6 tags, any of which  $7 ids
--   $8 created after  $9 created before  $10 tenant; each null where it is not asked for  $11 at most how many
-- Stands on: the primary keys of job and job_finalized, walked backwards until so many are found.
-- Called by: client.jobs.
select stored.*
from (
    select id
    from (
        select id, case state when 'waiting' then 'pending' else state::text end as state, kind,
               coalesce(queue, pool) as queue, pool, tags, created_at, context
        from {schema}.job
        where id < coalesce($1::bigint, 9223372036854775807)
        union all
        select id, state::text, kind, coalesce(queue, pool), pool, tags, created_at, context
        from {schema}.job_finalized
        where id < coalesce($1::bigint, 9223372036854775807)
        order by id desc
        offset 0  -- what is asked for stays outside: else the planner, who takes it for rare, would read and sort all
    ) as newest
    where ($2::text[] is null or state = any ($2))
      and ($3::text[] is null or kind = any ($3))
      and ($4::text[] is null or queue = any ($4))
      and ($5::text[] is null or pool = any ($5))
      and ($6::text[] is null or tags && $6)
      and ($7::bigint[] is null or id = any ($7))
      and ($8::timestamptz is null or created_at > $8)
      and ($9::timestamptz is null or created_at < $9)
      and ($10::text is null or context ->> 'tenant' = $10)
    limit $11
) as found
cross join lateral (
    select id, kind, args::text, queue, pool, state, priority, attempt, max_attempts, timeout, created_at, scheduled_at,
           attempted_at, attempted_by, finalized_at, errors::text, tags, metadata::text, output::text,
           context::text, progress::text, checkpoint::text, deadline_at
    from {schema}.job_all
    where id = found.id
    limit 1
) as stored
order by id desc
