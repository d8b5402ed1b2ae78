-- Put back the jobs of a claim whose answer was lost: the connection broke after it had committed.
--
--   $1 the lease that the claim was bound to: nobody else has drawn it  $2 the channel to notify
-- Reads the live table, a few times after a lost connection.
-- Called by: the producer.
with released as (
    update {schema}.job
    set state = 'available', lease = null, attempt = attempt - 1
    where state = 'running' and lease = $1
    returning pool, queue
),
woken as (
    select pg_notify($2, pool)
    from (select distinct pool from released) as ready
)
select count(*) as released, (select count(*) from woken) as woken,
       array_agg(distinct queue) filter (where queue is not null) as turns
from released
