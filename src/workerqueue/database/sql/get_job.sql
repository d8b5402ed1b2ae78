-- Read one job, live or finalized.
--
--   $1 its id
-- Stands on: the primary keys of job and job_finalized.
-- Called by: Jobs.get.
select id, kind, args::text, queue, pool, state, priority, attempt, max_attempts, timeout, created_at, scheduled_at,
       attempted_at, attempted_by, finalized_at, errors::text, tags, metadata::text, output::text,
       context::text, progress::text, checkpoint::text, deadline_at
from {schema}.job_all
where id = $1::bigint
