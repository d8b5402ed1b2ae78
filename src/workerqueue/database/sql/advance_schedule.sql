-- Move a schedule on to its next time, if nobody else has; the jobs of the time before are inserted in the same transaction.
--
--   $1 its name  $2 the time that is over  $3 the next one, or null: never  $4 what kept its jobs from being made, or null
-- Answers a row if this client is the one who fires it.
-- Stands on: schedule's primary key.
-- Called by: working clients, when a schedule is due.
update {schema}.schedule
set next_at = $3, last_at = $2, last_error = $4
where name = $1 and next_at = $2 and paused_at is null
returning name
