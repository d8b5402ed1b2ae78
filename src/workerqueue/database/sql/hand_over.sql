-- See to dynamic queues in which a job has ended: run the next one here at once, let others run it, or drop the row.
--
-- Answers the runs that are this client's now, and the queues that must be looked at again: a claim set a job aside
-- there after this statement began, which therefore can't see it, or the next job is in somebody's hand.
--   $1 names  $2 lease  $3 the client's number, or null: run none here  $4 pools and $5 kinds that it can run now
--   $6 the channel to notify
-- In strict order a job keeps its turn until it is over: nothing runs before what will be tried again.
-- Need not be durable: a crash takes back no more than a claim, and the leader finds what stands still.
-- Stands on: dynamic_queue's primary key, job's primary key, job_turn.
-- Reads dynamic_queue twice where many of its rows are asked for: it holds only what runs now.
-- Called by: the producer, and whoever has rescued or released jobs.
with here as materialized (
    select $2::bigint as lease, $3::integer as number, $4::text[] as pools, $5::text[] as kinds
),
channel as (
    select $6::text as channel
),
seen as materialized (
    select name, ctid as place from {schema}.dynamic_queue where name = any ($1::text[])
),
held as materialized (
    select name, jobs, most, strict, ctid as place
    from {schema}.dynamic_queue
    where name = any ($1::text[])
    order by name
    for update
),
-- What was changed since this statement began may be about jobs that it can't see.
current as materialized (
    select held.name, held.most, held.strict,
           array(
               select job.id from {schema}.job
               where job.id = any (held.jobs) and (job.state = 'running' or held.strict) and job.queue = held.name
           ) as running
    from held
    join seen on seen.name = held.name and seen.place = held.place
),
{part take_turns}
select {part turned_runs} as runs,
       array(
           select name from held where name not in (select name from current)
           union all
           {part turns_again}
       ) as again,
       (select count(*) from ready) as promoted, (select count(*) from called) as called
