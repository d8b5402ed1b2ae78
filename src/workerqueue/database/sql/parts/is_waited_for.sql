-- Whether anything is ready in the pool at all.
(
    exists (
        select from {schema}.job
        where job.pool = pool_room.pool and job.state = 'available' and job.lane is null
    )
    or exists (
        select from {schema}.job
        where job.pool = pool_room.pool and job.state = 'available' and job.lane is not null
    )
)
