-- Whether anything is ready in the pool at all; in order, so that it is found by an index on a caller's connection, too.
coalesce(
    (
        select true from {schema}.job
        where job.pool = pool_room.pool and job.state = 'available' and job.lane is null
        order by job.priority, job.scheduled_at, job.id
        limit 1
    ),
    (
        select true from {schema}.job
        where job.pool = pool_room.pool and job.state = 'available' and job.lane is not null
        order by job.lane, job.priority, job.scheduled_at, job.id
        limit 1
    ),
    false
)
