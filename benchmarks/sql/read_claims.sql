-- Tell what the claims cost since the statistics were reset: milliseconds in the executor, and rows given.
--
-- A claim is known by SKIP LOCKED; of several such statements it is the one that gave the most rows. Not looked up by
-- schema: PostgreSQL 18 counts a statement over tables of the same names in several schemas as one.
-- Called by: Statements.claims.
select total_exec_time as milliseconds, rows
from pg_stat_statements
where query ilike '%skip locked%'
order by rows desc
limit 1
