-- List the indexes of the live table: how large they were, and how many entries they held, when last vacuumed.
--
-- Called by: the reindexer.
select pg_class.relname::text as name,
       pg_class.relpages::bigint as pages,
       greatest(pg_class.reltuples, 0)::float8 as entries,
       pg_index.indisvalid as is_valid
from pg_catalog.pg_index
join pg_catalog.pg_class on pg_class.oid = pg_index.indexrelid
where pg_index.indrelid = to_regclass('{schema}.job')
order by pg_class.relname
