-- List the tables that hold rows in a schema: ordinary ones and partitions, with their sizes, indexes included.
--
--   $1 the schema's name
-- Called by: tables.
select c.oid::regclass::text as name, pg_total_relation_size(c.oid) as bytes
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where n.nspname = $1 and c.relkind = 'r'
order by c.relname
