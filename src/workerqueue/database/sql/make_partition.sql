-- Make the table for the jobs that are finalized on one day (UTC).
--
-- Its name and bounds are filled in before it is sent.
-- Called by: the partitioner.
create table if not exists {schema}.{name} partition of {schema}.job_finalized
for values from ('{from} 00:00+00') to ('{to} 00:00+00')
