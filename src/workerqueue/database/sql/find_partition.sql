-- Tell whether a day's table is there.
--
--   $1 its name
-- Called by: the partitioner.
select exists (
    select from pg_catalog.pg_inherits
    join pg_catalog.pg_class on pg_class.oid = pg_inherits.inhrelid
    where pg_inherits.inhparent = to_regclass('{schema}.job_finalized') and pg_class.relname = $1::text
)
