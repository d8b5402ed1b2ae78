-- Take one of so many leases of a key, if one is free.
--
-- Its fence is the time in microseconds, and more than the one before: so it only grows, though rows of old are forgotten.
--   $1 the key  $2 how many may be held at once  $3 a random number that renewing and ending repeat  $4 seconds it holds
-- Answers the lease that was taken; none where another was quicker; and whether all are held.
-- Stands on: lease's primary key.
-- Called by: client.lock, client.semaphore.
with free as materialized (
    select place
    from generate_series(0, $2::integer - 1) as generate_series (place)
    where not exists (
        select from {schema}.lease where key = $1 and lease.place = generate_series.place and until > statement_timestamp()
    )
    order by place
    limit 1
),
taken as (
    insert into {schema}.lease as held (key, place, token, fence, until)
    select $1, place, $3::bigint, floor(extract(epoch from statement_timestamp()) * 1000000)::bigint,
           statement_timestamp() + make_interval(secs => $4::float8)
    from free
    on conflict (key, place) do update
    set token = excluded.token, fence = greatest(held.fence + 1, excluded.fence), until = excluded.until
    where held.until <= statement_timestamp()
    returning place, fence
)
select (select place from taken) as place, (select fence from taken) as fence,
       not exists (select from free) as all_held
