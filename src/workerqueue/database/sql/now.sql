-- Tell the time by the database's clock.
--
-- Called by: whatever computes times that are stored: working clients, when they register schedules; client.schedules.
select statement_timestamp() as now
