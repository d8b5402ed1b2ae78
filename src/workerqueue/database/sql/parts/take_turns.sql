-- Give the next jobs of `current` dynamic queues their turn: to be run by who is `here`, or else by anybody.
-- What nobody alive can work holds nobody up; what is paused has no turn.
known as materialized (
    select array(select distinct unnest(kinds) from {schema}.client where ended_at is null) as kinds,
           array(select distinct unnest(pools) from {schema}.client where ended_at is null) as pools,
           array(
               select name from {schema}.queue where (paused_at is not null or is_ruled) and paused_at is not null
           ) as paused,
           array(select name from {schema}.queue where paused_at is not null or is_ruled) as barred,
           exists (select from {schema}.client where number = (select number from here) and ended_at is null) as is_here
),
-- One more than has room, to see whether somebody waits behind.
first as materialized (
    select current.name, found.id,
           row_number() over (partition by current.name order by found.place)
           > current.most - cardinality(current.running) as waits
    from current
    cross join lateral (
        select job.id, row_number() over (order by job.priority, job.scheduled_at, job.id) as place
        from {schema}.job
        where job.queue = current.name and job.state in ('available', 'waiting')
          and job.kind = any ((select kinds from known)::text[]) and job.pool = any ((select pools from known)::text[])
          and job.id <> all (current.running)
        order by job.priority, job.scheduled_at, job.id
        limit greatest(current.most - cardinality(current.running), 0) + 1
    ) as found
    where current.name <> all ((select paused from known)::text[])
    union all
    -- What has had its turn and is not over has it again, before all others.
    select current.name, job.id, false
    from current
    join {schema}.job on job.id = any (current.running)
    where job.state in ('available', 'waiting') and current.name <> all ((select paused from known)::text[])
),
next as materialized (
    select job.id, job.queue as name, job.state = 'waiting' as was_waiting,
           known.is_here and job.pool = any (here.pools) and job.kind = any (here.kinds)
           and job.pool <> all (known.barred) and '*' <> all (known.barred) as here
    from {schema}.job
    cross join here
    cross join known
    where job.id = any (array(select id from first where not waits)) and job.state in ('available', 'waiting')
    order by job.id
    for update of job skip locked
),
runs as (
    update {schema}.job
    set state = 'running',
        lease = here.lease,
        attempt = least(attempt, 32766) + 1,
        attempted_at = statement_timestamp(),
        client = here.number,
        -- The newest 100: snoozes may start a job any number of times.
        attempted_by = case when client is not null
                            then array_append(attempted_by[greatest(cardinality(attempted_by) - 97, 1):], client) end
    from here
    where job.id = any (array(select id from next where next.here))
    returning job.*
),
ready as (
    update {schema}.job
    set state = 'available'
    where id = any (array(select id from next where not next.here and was_waiting))
    returning pool
),
-- Grouped, not joined: the planner expects one name, and would look through all of them for each.
left_over as materialized (
    select name,
           array(
               select distinct job
               from unnest(
                   max(running) || coalesce(
                       -- In strict order a turn is kept for whoever claims the job next: claims give none themselves.
                       case when bool_or(strict) then array_agg(id) filter (where id is not null)
                            else array_agg(id) filter (where here) end,
                       '{}'
                   )
               ) as job
           ) as jobs,
           count(id) > 0 as is_seen_to,
           bool_or(waits) or exists (
               select from {schema}.job
               where job.queue = seen_to.name and job.state = 'waiting'
                 and job.id <> all (coalesce(array_agg(seen_to.id) filter (where seen_to.id is not null), '{}'))
           ) as waiting
    from (
        select name, running, strict, null::bigint as id, false as here, false as waits from current
        union all
        select next.name, '{}', false, next.id, next.here, false from next
        union all
        select name, '{}', false, null, false, true from first where waits
    ) as seen_to
    group by name
),
kept as (
    update {schema}.dynamic_queue
    set jobs = left_over.jobs, waiting = left_over.waiting
    from left_over
    where dynamic_queue.name = left_over.name and (left_over.waiting or cardinality(left_over.jobs) > 0)
),
dropped as (
    delete from {schema}.dynamic_queue
    using left_over
    where dynamic_queue.name = left_over.name and not left_over.waiting and cardinality(left_over.jobs) = 0
),
called as (
    select pg_notify((select channel from channel), pool)
    from (select distinct pool from ready) as ready
    where exists (
        select from {schema}.idle where idle.pool = ready.pool and idle.until > statement_timestamp()
    )
)
