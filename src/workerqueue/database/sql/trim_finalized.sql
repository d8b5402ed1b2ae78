-- Delete finalized jobs beyond the newest so many of their queue, or of their kind where it has a number of its own.
--
--   $1 how many to keep, by kind, queue and state (JSON)  $2 at most how many to delete
-- Reads the history of the queues and kinds named.
-- Called by: the cleaner, where a number is configured.
with rules as materialized (
    select $1::text::jsonb as keep
),
placed as (
    select job.id, job.finalized_at, coalesce(by_kind, by_queue)::bigint as newest,
           row_number() over (
               partition by job.state, by_kind is null, case when by_kind is null then job.pool else job.kind end
               order by job.finalized_at desc, job.id desc
           ) as place
    from rules
    cross join {schema}.job_finalized as job
    cross join lateral (
        select keep #>> array['kinds', job.kind, job.state::text] as by_kind,
               keep #>> array['queues', job.pool, job.state::text] as by_queue
    ) as rule
    where (keep -> 'kinds' ? job.kind or keep -> 'queues' ? job.pool) and coalesce(by_kind, by_queue) is not null
),
doomed as (
    select job.id, job.finalized_at
    from (select id, finalized_at from placed where place > newest limit $2) as beyond
    join {schema}.job_finalized as job using (id, finalized_at)
    for update of job skip locked
),
deleted as (
    delete from {schema}.job_finalized as job
    using doomed
    where job.id = doomed.id and job.finalized_at = doomed.finalized_at
    returning job.pool, job.state, job.finalized_at
),
{part untally}
select count(*) as deleted from deleted
