-- List the tables of finalized jobs: how large they are, and how many seconds ago their day ended.
--
-- The default table has no day; that of a day to come ended a negative time ago.
-- Called by: the cleaner.
select pg_class.relname::text as name,
       -- None where another leader drops it just now.
       coalesce(pg_relation_size(pg_class.oid) / current_setting('block_size')::bigint, 0) as pages,
       extract(epoch from statement_timestamp() - end_of.day)::float8 as ended_ago
from pg_catalog.pg_inherits
join pg_catalog.pg_class on pg_class.oid = pg_inherits.inhrelid
cross join lateral (
    select case when pg_class.relname ~ '^job_finalized_[0-9]{8}$'
                then (to_date(right(pg_class.relname::text, 8), 'YYYYMMDD') + 1)::timestamp at time zone 'UTC' end as day
) as end_of
where pg_inherits.inhparent = to_regclass('{schema}.job_finalized')
order by pg_class.relname
