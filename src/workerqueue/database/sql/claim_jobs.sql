-- Claim the next jobs of every pool that has room, in one statement.
--
--   $1 lease: a random number that every write of these runs must repeat
--   $2 the client's number  $3 pools  $4 how many jobs of each pool  $5 the kinds this client can work
--   $6 $7 the first and the last of each pool's segments among those that follow
--   $8 $9 $10 where a segment begins (priority, scheduled_at, id), itself not in it  $11 the priority it ends before
-- A pool's segments lie in the order in which its jobs run. What lies between two of them is not looked at: it was
-- claimed, or can't be worked here, and dead entries and other people's jobs would make every claim slower.
-- Stands on: job_ready, walked from the beginning of one segment after the other until a pool's room is filled.
-- Called by: the producer.
with ready as (
    select next.id
    from unnest($3::text[], $4::integer[], $6::integer[], $7::integer[]) as wanted (pool, room, first, last)
    cross join lateral (
        -- Unsorted on purpose: the segments come in the order of their arrays, and a sort would begin them all.
        select found.id
        from unnest(
            ($8::smallint[])[first:last], ($9::timestamptz[])[first:last], ($10::bigint[])[first:last],
            ($11::integer[])[first:last]
        ) as segment (priority, at, id, until_priority)
        cross join lateral (
            select job.id
            from {schema}.job
            where job.pool = wanted.pool and job.state = 'available' and job.kind = any ($5::text[])
              and (job.priority, job.scheduled_at, job.id) > (segment.priority, segment.at, segment.id)
              and job.priority < segment.until_priority
            order by job.priority, job.scheduled_at, job.id
            limit wanted.room
            for update skip locked
        ) as found
        limit wanted.room
    ) as next
    -- A client that was declared dead, and does not know it yet, gets nothing.
    where exists (select from {schema}.client where number = $2::integer and ended_at is null)
)
update {schema}.job
set state = 'running',
    lease = $1,
    attempt = least(attempt, 32766) + 1,
    attempted_at = statement_timestamp(),
    client = $2::integer,
    -- The newest 100: snoozes may start a job any number of times.
    attempted_by = case when client is not null
                        then array_append(attempted_by[greatest(cardinality(attempted_by) - 97, 1):], client) end
-- Not joined: the planner expects a hundred times LIMIT rows of a join and reads the whole table for them.
where id = any (array(select id from ready))
returning id, kind, args::text, queue, pool, priority, attempt, max_attempts, timeout_seconds,
          created_at, scheduled_at, attempted_at,
          -- What most jobs have none of comes as one column: each one costs as much as a no-op job does.
          case when attempted_by is not null or errors is not null or tags is not null or metadata is not null
                    or retry is not null
               then json_build_object(
                   'attempted_by', (
                       select json_agg(coalesce(
                           (select id from {schema}.client where client.number = worker.number), worker.number::text
                       ) order by place)
                       from unnest(attempted_by || $2::integer) with ordinality as worker (number, place)
                   ),
                   'errors', errors, 'tags', tags, 'metadata', metadata, 'retry', retry
               )::text end as rest
