-- Delete a schedule.
--
--   $1 its name
-- Answers a row if it was there.
-- Stands on: schedule's primary key.
-- Called by: client.schedules.
delete from {schema}.schedule where name = $1 returning name
