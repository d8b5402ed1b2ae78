-- Cancel jobs that wait; ask those that run to stop, if so wished.
--
-- A claim and this take turns at the job's row: whoever comes second sees what the first has made of it.
--   $1 ids  $2 whether to ask those that run  $3 the channel  $4 what to say there before an id
-- Answers each live job: whether it was cancelled or asked, its state before, and its dynamic queue if somebody else's turn may
-- have come there.
-- Stands on: job's primary key.
-- Called by: client.jobs.
with found as materialized (
    select id, state, queue
    from {schema}.job
    where id = any ($1::bigint[])
    order by id
    for update
),
ended as (
    delete from {schema}.job
    where id = any (array(select id from found where state <> 'running'))
    returning job.*, 'cancelled'::{schema}.job_state as final_state, null::jsonb as entry, null::jsonb as output
),
{part finalize},
asked as (
    update {schema}.job
    set cancel_requested_at = coalesce(cancel_requested_at, statement_timestamp())
    where $2 and id = any (array(select id from found where state = 'running'))
    returning id
),
told as (
    select pg_notify($3, $4 || id) from asked
)
select id, state <> 'running' or $2 as ok, case state when 'waiting' then 'pending' else state::text end as state,
       case when state <> 'running' then queue end as queue, (select count(*) from told) as told
from found
