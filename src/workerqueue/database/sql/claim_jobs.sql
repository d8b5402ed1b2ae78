-- Claim the next jobs of every pool that has room, in one statement.
--
--   $1 lease: a random number that every write of these runs must repeat
--   $2 the client's number  $3 the kinds this client can work
--   $4 how many jobs of one dynamic queue may run at once, by kind  $5 whether its order is strict, by kind
--   $6 every pool that this client works  $7 whether limits count what is claimed (true or null)
--   $8 pools  $9 how many jobs of each pool
--   $10 $11 the first and the last of each pool's segments among those that follow
--   $12 $13 $14 where a segment begins (priority, scheduled_at, id), itself not in it  $15 the priority it ends before
-- A job of a dynamic queue runs only if it is the first that this client could run, and its queue's row has room; it is
-- set aside otherwise (`waiting`, answered with its kind in place of its args), and whoever ends a job of that queue
-- sees to it. The row is what claims and ends of one queue take turns by, so all of them lock jobs first and rows by
-- name afterwards.
-- A pool's segments lie in the order in which its jobs run. What lies between two of them is not looked at: it was
-- claimed, or can't be worked here, and dead entries and other people's jobs would make every claim slower.
-- Pools that are paused give nothing here, nor do those that were given rules at run time, unless the caller goes by them.
-- Stands on: job_turn, dynamic_queue's primary key, job_lane, and job_ready, walked from the
-- beginning of one segment after the other until a pool's room is filled.
-- Called by: the producer.
with ready as materialized (
    select next.*
    from unnest($8::text[], $9::integer[], $10::integer[], $11::integer[]) as wanted (pool, room, first, last)
    cross join lateral (
        select walked.*
        from (
            -- Unsorted on purpose: the segments come in the order of their arrays, and a sort would begin them all.
            select found.*
            from unnest(
                ($12::smallint[])[first:last], ($13::timestamptz[])[first:last], ($14::bigint[])[first:last],
                ($15::integer[])[first:last]
            ) as segment (priority, at, id, until_priority)
            cross join lateral (
                select job.id, job.queue, job.kind, job.priority, job.scheduled_at
                from {schema}.job
                where job.pool = wanted.pool and job.state = 'available' and job.lane is null
                  and job.kind = any ($3::text[])
                  and (job.priority, job.scheduled_at, job.id) > (segment.priority, segment.at, segment.id)
                  and job.priority < segment.until_priority
                order by job.priority, job.scheduled_at, job.id
                limit wanted.room
                for update skip locked
            ) as found
            limit wanted.room
        ) as walked
        union all
        -- What was inserted by somebody who knows of rules for its kind or pool that this client does not.
        select laned.*
        from (
            select job.id, job.queue, job.kind, job.priority, job.scheduled_at
            from {schema}.job
            where job.pool = wanted.pool and job.state = 'available' and job.lane is not null
              and job.kind = any ($3::text[])
            order by job.lane, job.priority, job.scheduled_at, job.id
            limit wanted.room
            for update skip locked
        ) as laned
        limit wanted.room
    ) as next
    -- A client that was declared dead, and does not know it yet, gets nothing.
    where exists (select from {schema}.client where number = $2::integer and ended_at is null)
      and not exists (
          select from {schema}.queue
          where (queue.paused_at is not null or queue.is_ruled) and queue.name in (wanted.pool, '*')
            and (queue.paused_at is not null or $7::boolean is null)
      )
),
{part claim}
