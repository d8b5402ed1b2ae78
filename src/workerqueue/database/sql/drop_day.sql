-- Drop one day's table of finalized jobs, and what counts them.
--
-- The names are filled in before it is sent. It waits for a moment only: until it has its locks, every completion waits
-- behind it, and whoever reads the history may do so for hours. Whoever is just adding up the day's counts is waited for.
-- Called by: the cleaner.
set local lock_timeout = '100ms';
drop table if exists {schema}.{table};
lock table {schema}.tally in share row exclusive mode;
delete from {schema}.tally where day = '{day}'
