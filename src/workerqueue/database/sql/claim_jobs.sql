-- Claim the next jobs of every pool that has free workers, in one statement.
--
--   $1 lease: a random number that every write of these runs must repeat
--   $2 the client's id  $3 pools  $4 free workers of each pool  $5 the kinds this client can work
-- Stands on: job_ready, walked once per pool up to its free workers.
-- Called by: the producer.
with wanted as (
    select * from unnest($3::text[], $4::integer[]) as wanted (pool, free)
),
ready as (
    select next.id
    from wanted
    cross join lateral (
        select job.id
        from {schema}.job
        where job.pool = wanted.pool and job.state = 'available' and job.kind = any ($5::text[])
        order by job.priority, job.scheduled_at, job.id
        limit wanted.free
        for update skip locked
    ) as next
)
update {schema}.job
set state = 'running',
    lease = $1,
    attempt = attempt + 1,
    attempted_at = statement_timestamp(),
    -- The newest 100: snoozes may start a job any number of times.
    attempted_by = array_append(attempted_by[greatest(cardinality(attempted_by) - 98, 1):], $2::text)
-- Not joined: the planner expects a hundred times LIMIT rows of a join and reads the whole table for them.
where id = any (array(select id from ready))
returning id, kind, args::text, queue, pool, state, priority, attempt, max_attempts, timeout, created_at,
          scheduled_at, attempted_at, attempted_by, null::timestamptz as finalized_at, errors::text, tags,
          metadata::text, retry::text, null::text as output, lease
