-- Forget a queue that was added at run time, if no job is live there, and tell every client.
--
--   $1 its name  $2 the channel  $3 what to say there
-- Answers whether it was there, and how many live jobs it has.
-- Stands on: queue's primary key. Reads the live table, when a queue is removed.
-- Called by: client.queues.
with live as materialized (
    select count(*) as jobs from {schema}.job where pool = $1
),
removed as (
    delete from {schema}.queue
    where name = $1 and is_added and (select jobs from live) = 0
    returning name
)
select (select count(*) from removed) > 0 as removed, (select jobs from live) as jobs,
       (select count(pg_notify($2, $3)) from removed)
