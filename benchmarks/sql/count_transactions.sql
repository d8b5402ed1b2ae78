-- Count the transactions of this database: one a statement, for who opens none.
--
-- Called by: Statements.count, where pg_stat_statements is not loaded.
select xact_commit + xact_rollback as statements
from pg_stat_database
where datname = current_database()
