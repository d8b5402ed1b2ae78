-- Count the statements that ran in this database, but those that count.
--
-- Called by: Statements.count.
select coalesce(sum(calls), 0)::bigint as statements
from pg_stat_statements
join pg_database on pg_database.oid = dbid
where datname = current_database() and query not ilike '%pg_stat_%' and query not ilike '%pg_database%'
