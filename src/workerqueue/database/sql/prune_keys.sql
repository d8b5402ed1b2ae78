-- Forget keys whose job and its history are gone and that are kept no longer.
--
-- A key that somebody holds is left for the next time.
--   $1 the key to begin behind  $2 at most how many to look at
-- Answers the last key looked at, or null at the end.
-- Stands on: job_key's primary key, the primary keys of job and job_finalized.
-- Called by: the pruner of keys.
with looked_at as materialized (
    select key, job, until from {schema}.job_key where key > $1 order by key limit $2
),
gone as materialized (
    select key, job
    from looked_at
    where coalesce(until, '-infinity') < statement_timestamp()
      and not exists (select from {schema}.job where job.id = looked_at.job)
      and not exists (select from {schema}.job_finalized where job_finalized.id = looked_at.job)
),
old as materialized (
    select job_key.key
    from {schema}.job_key
    where job_key.key = any (array(select key from gone))
      -- By key and job: a key that has got another job since this statement began is another one.
      and coalesce(job_key.job, 0) = any (array(select coalesce(job, 0) from gone))
    order by job_key.key
    for update skip locked
),
pruned as (
    delete from {schema}.job_key where key = any (array(select key from old)) returning key
)
select case when (select count(*) from looked_at) = $2 then (select max(key) from looked_at) end as last,
       (select count(*) from pruned) as pruned
