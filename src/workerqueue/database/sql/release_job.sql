-- Make a parked job available now, and wake the clients of its pool.
--
-- Answers one row if the job was parked, none otherwise.
--   $1 its id  $2 the channel to notify
-- Stands on: job's primary key.
-- Called by: Jobs.release.
with released as (
    update {schema}.job
    set state = 'available', scheduled_at = statement_timestamp()
    where id = $1::bigint and state = 'pending'
    returning id, pool
)
select id, pg_notify($2, pool)
from released
