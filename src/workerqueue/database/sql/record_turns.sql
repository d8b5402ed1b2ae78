-- Write how runs of dynamic queues ended, as record_outcomes.sql does, and run the next jobs of their queues here.
--
-- Answers the runs that are this client's now, too, and the queues that hand_over.sql must look at: a claim has set a
-- job aside there since this statement began, the next job is in somebody's hand, or what ended keeps its place.
--   $1 ids  $2 leases  $3 states  $4 delays until due, in seconds  $5 whether the start counts
--   $6 error entries (JSON without their time) or null  $7 outputs (JSON) or null; $3 to $7 may be null as a whole
--   $8 the channel to notify  $9 whether to insert follow-ups  $10 the lease of the next runs
--   $11 the client's number, or null: run none here  $12 pools and $13 kinds that it can run now
-- Stands on: job's primary key, dynamic_queue's primary key, job_turn.
-- Reads dynamic_queue twice where many of its rows are asked for: it holds only what runs now.
-- Called by: the completer.
with {part end_runs},
turned as materialized (
    select id, queue, true as is_over from ended
    union all
    -- What is available again comes before what waits, and this statement can't see it yet.
    select id, queue, state <> 'available' from returned
),
turn as materialized (
    select name, jobs, most, strict, waiting, ctid as place
    from {schema}.dynamic_queue
    where name = any (array(select queue from turned))
    order by name  -- as claims do
    for update
),
freed as (
    delete from {schema}.dynamic_queue
    where name = any (array(
        select turn.name
        from turn
        join turned on turned.queue = turn.name
        where turn.jobs = array[turned.id] and not turn.waiting and not turn.strict
    ))
    returning name
),
here as materialized (
    select $10::bigint as lease, $11::integer as number, $12::text[] as pools, $13::text[] as kinds
),
channel as (
    select $8::text as channel
),
seen as materialized (
    select name, ctid as place from {schema}.dynamic_queue where name = any (array(select queue from turned))
),
current as materialized (
    select turn.name, turn.most, turn.strict,
           case when turn.jobs <@ array(select id from turned) then '{}' else array(
               select job.id from {schema}.job
               where job.id = any (turn.jobs) and job.state = 'running' and job.queue = turn.name
                 and job.id <> all (array(select id from turned))
           ) end as running
    from turn
    join seen on seen.name = turn.name and seen.place = turn.place
    where turn.name not in (select name from freed)
      and not turn.strict  -- whether what ended comes again and keeps its turn, this statement can't see
      and turn.name not in (select queue from turned where not is_over)
),
{part take_turns}
select array(select id from ended union all select id from returned) as accepted, (select count(*) from woken) as woken,
       {part turned_runs} as runs,
       array(
           select queue from turned
           where queue not in (select name from freed) and queue not in (select name from current)
           union
           {part turns_again}
       ) as turns,
       (select count(*) from ready) as promoted, (select count(*) from called) as called
