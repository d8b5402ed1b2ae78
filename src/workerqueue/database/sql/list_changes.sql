-- List what was said of queues at run time.
--
-- Reads all of queue: as many rows as queues are paused or were changed.
-- Called by: working clients, when they start, when they are told of a change, and with a beat.
select name, paused_at, max_workers, global_limit, rate_starts, rate_seconds, burst, is_added, changed_at
from {schema}.queue
order by name
