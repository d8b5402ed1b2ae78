-- Tell up to when a look that has just ended saw everything of some pools, and at which priorities it is worth not
-- to look there again.
--
--   $1 pools  $2 how many seconds ago the look saw everything there was
-- Ready jobs make a priority worth a mark, known here or not. What was claimed may lie in the index as well, until
-- vacuum removes it, and nobody can tell where; so the table's usual priorities count a little, as ANALYZE last
-- saw them.
-- Stands on: job_ready, from one priority to the next (a loose index scan).
-- Called by: the producer, after a look that took long.
with recursive walked as (
    select statement_timestamp() - make_interval(secs => $2::float8) as until
),
place (pool, priority, number) as (
    select given.pool, first.priority, 1
    from unnest($1::text[]) as given (pool)
    cross join lateral (
        select job.priority
        from {schema}.job
        where job.pool = given.pool and job.state = 'available' and job.lane is null
        order by job.priority, job.scheduled_at, job.id
        limit 1
    ) as first
    union all
    select place.pool, next.priority, place.number + 1
    from place
    cross join lateral (
        select job.priority
        from {schema}.job
        where job.pool = place.pool and job.state = 'available' and job.lane is null and job.priority > place.priority
        order by job.priority, job.scheduled_at, job.id
        limit 1
    ) as next
    where place.number < 1000
),
passed (pool, priority, jobs) as (
    select place.pool, place.priority, counted.jobs
    from place
    cross join walked
    cross join lateral (
        select count(*) as jobs
        from (
            select
            from {schema}.job
            where job.pool = place.pool and job.state = 'available' and job.lane is null and job.priority = place.priority
              and job.scheduled_at <= walked.until
            order by job.priority, job.scheduled_at, job.id
            limit 10000
        ) as before
    ) as counted
    union all
    select given.pool, usual.priority, 100
    from unnest($1::text[]) as given (pool)
    cross join (
        select unnest(most_common_vals::text::smallint[]) as priority
        from pg_stats
        where schemaname = (parse_ident('{schema}.job'))[1] and tablename = 'job' and attname = 'priority'
    ) as usual
)
select walked.until, worth.pool, worth.priority, worth.jobs
from walked
left join (
    select pool, priority, sum(jobs)::integer as jobs from passed group by pool, priority having sum(jobs) >= 100
) as worth on true
