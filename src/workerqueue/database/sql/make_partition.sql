-- Make the table for the jobs that are finalized on one day (UTC).
--
-- Its name and bounds are filled in before it is sent. It waits for a moment only: until it has its locks, every
-- completion waits behind it, and whoever reads the history may do so for hours.
-- Called by: the partitioner.
set local lock_timeout = '100ms';
create table if not exists {schema}.{name} partition of {schema}.job_finalized
for values from ('{from} 00:00+00') to ('{to} 00:00+00')
