-- Complete a live job by hand; a run of it that is under way is stale from then on.
--
--   $1 its id  $2 its output (JSON) or null
-- Answers as cancel_jobs.sql does.
-- Stands on: job's primary key.
-- Called by: client.jobs.
with found as materialized (
    select id, state, queue from {schema}.job where id = $1::bigint for update
),
ended as (
    delete from {schema}.job
    where id = any (array(select id from found))
    returning job.*, 'completed'::{schema}.job_state as final_state, null::jsonb as entry, $2::text::jsonb as output
),
{part finalize}
select id, true as ok, case state when 'waiting' then 'pending' else state::text end as state, queue
from found
