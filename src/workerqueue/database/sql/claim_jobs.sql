-- Claim the next jobs of every pool that has room, in one statement.
--
--   $1 lease: a random number that every write of these runs must repeat
--   $2 the client's number  $3 pools  $4 how many jobs of each pool  $5 the kinds this client can work
--   $6 $7 $8 each pool's mark (priority, scheduled_at, id): what lies before it at its own priority is not looked
--      at again, because it was claimed, or can't be worked here; dead entries there would make every claim slower
-- Stands on: job_ready, walked for each pool from its first entry or its mark.
-- Called by: the producer.
with wanted as (
    select *
    from unnest($3::text[], $4::integer[], $6::smallint[], $7::timestamptz[], $8::bigint[])
        as wanted (pool, room, mark_priority, mark_at, mark_id)
),
ready as (
    select next.id
    from wanted
    cross join lateral (
        select id
        from (
            -- What is more urgent than the mark is always looked at.
            select urgent.id
            from (
                select job.id
                from {schema}.job
                where job.pool = wanted.pool and job.state = 'available' and job.kind = any ($5::text[])
                  and job.priority < wanted.mark_priority
                order by job.priority, job.scheduled_at, job.id
                limit wanted.room
                for update skip locked
            ) as urgent
            union all
            select following.id
            from (
                select job.id
                from {schema}.job
                where job.pool = wanted.pool and job.state = 'available' and job.kind = any ($5::text[])
                  and (job.priority, job.scheduled_at, job.id)
                      > (wanted.mark_priority, wanted.mark_at, wanted.mark_id)
                order by job.priority, job.scheduled_at, job.id
                limit wanted.room
                for update skip locked
            ) as following
        ) as both_parts
        limit wanted.room
    ) as next
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
                       select json_agg(coalesce(client.id, worker.number::text) order by worker.place)
                       from unnest(attempted_by || $2::integer) with ordinality as worker (number, place)
                       left join {schema}.client on client.number = worker.number
                   ),
                   'errors', errors, 'tags', tags, 'metadata', metadata, 'retry', retry
               )::text end as rest
