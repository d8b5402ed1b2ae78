-- Read the database's clock.
--
-- Called by: the delayed benchmark.
select clock_timestamp() as now
