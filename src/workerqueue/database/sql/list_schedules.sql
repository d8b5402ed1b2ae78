-- List schedules, and in how many seconds each fires next.
--
--   $1 names, or null for all
-- Reads all of schedule: as many rows as there are schedules.
-- Called by: working clients, when they start, are told of a change, and have fired; client.schedules.
select name, definition::text, next_at, last_at, paused_at, last_error, statement_timestamp() as now
from {schema}.schedule
where $1::text[] is null or name = any ($1)
order by name
