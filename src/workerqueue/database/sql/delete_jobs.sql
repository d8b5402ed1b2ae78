-- Delete jobs that do not run, live or finalized.
--
--   $1 ids
-- Answers each job found: whether it was deleted, its state before, and its dynamic queue if somebody else's turn may have
-- come there.
-- Stands on: the primary keys of job and job_finalized.
-- Called by: client.jobs.
with found as materialized (
    select id, state, queue from {schema}.job where id = any ($1::bigint[]) order by id for update
),
dropped as (
    delete from {schema}.job where id = any (array(select id from found where state <> 'running'))
),
deleted as (
    delete from {schema}.job_finalized where id = any ($1::bigint[])
    returning id, state, pool, finalized_at
),
{part untally}
select id, state <> 'running' as ok, case state when 'waiting' then 'pending' else state::text end as state,
       case when state <> 'running' then queue end as queue
from found
union all
select id, true, state::text, null from deleted
