-- Delete what is past its retention from some pages of one table of finalized jobs.
--
-- Page by page, since no index leads to it: one would cost every completion. Rows that another cleaner holds are left
-- to it.
--   $1 the first page  $2 the page behind the last  $3 seconds to keep, by kind, queue and state (JSON)
--   $4 at most how many
-- Reads so many pages of one day; the table's name is filled in before it is sent.
-- Called by: the cleaner, and jobs.clean.
with rules as materialized (
    select $3::text::jsonb as keep
),
looked_at as materialized (
    select job.ctid as place,
           extract(epoch from statement_timestamp() - job.finalized_at)::float8 - coalesce(
               keep #>> array['kinds', job.kind, job.state::text],
               keep #>> array['queues', job.queue, job.state::text],
               keep #>> array['queues', job.pool, job.state::text],
               keep #>> array['all', job.state::text]
           )::float8 as past
    from rules
    cross join {schema}.{table} as job
    where job.ctid >= ('(' || $1::bigint || ',0)')::tid and job.ctid < ('(' || $2::bigint || ',0)')::tid
),
doomed as (
    select ctid as place
    from {schema}.{table}
    where ctid = any (array(select place from looked_at where past >= 0 limit $4))
    for update skip locked
),
deleted as (
    delete from {schema}.{table}
    where ctid = any (array(select place from doomed))
    returning coalesce(queue, pool) as queue, pool, state, finalized_at
),
{part untally}
select (
           select jsonb_agg(jsonb_build_array(queue, state, jobs))::text
           from (select queue, state, count(*) as jobs from deleted group by queue, state) as counted
       ) as deleted,
       (select count(*) from looked_at) - (select count(*) from deleted) as remaining,
       (select count(*) from looked_at where past >= 0) - (select count(*) from deleted) as overdue,
       (select min(-past) from looked_at where past < 0) as next_due
