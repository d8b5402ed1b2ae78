-- Drop one day's table of finalized jobs.
--
-- Its name is filled in before it is sent. It waits for a moment only: until it has its locks, every completion waits
-- behind it, and whoever reads the history may do so for hours.
-- Called by: the cleaner.
set local lock_timeout = '100ms';
drop table if exists {schema}.{table}
