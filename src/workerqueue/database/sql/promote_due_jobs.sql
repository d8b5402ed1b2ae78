-- Make jobs available whose time has come, and wake the idle clients of their pools; tell when the next falls due, and
-- whether any dynamic queue has a turn that could stand still.
--
--   $1 at most how many  $2 the channel to notify
-- Stands on: job_due, dynamic_queue's primary key. Any number of clients may run it at once: each takes rows that no other holds.
-- Called by: the scheduler.
with due as (
    select id
    from {schema}.job
    where state in ('scheduled', 'retryable') and scheduled_at <= statement_timestamp()
    order by scheduled_at, id
    limit $1
    for update skip locked
),
promoted as (
    update {schema}.job
    set state = 'available'
    where id = any (array(select id from due))
    returning pool
),
woken as (
    select pg_notify($2, pool)
    from (select distinct pool from promoted) as ready
    where exists (
        select from {schema}.idle where idle.pool = ready.pool and idle.until > statement_timestamp()
    )
)
select count(*) as promoted,
       (
           select extract(epoch from scheduled_at - statement_timestamp())::float8
           from {schema}.job
           where state in ('scheduled', 'retryable') and scheduled_at > statement_timestamp()
           order by scheduled_at, id
           limit 1
       ) as next_due,
       -- In order, so that it is found by the index on a caller's connection, too.
       (select name from {schema}.dynamic_queue order by name limit 1) is not null as has_turns,
       (select count(*) from woken) as woken
from promoted
