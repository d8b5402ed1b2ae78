-- Say that a client has stopped: none of its jobs is running any more.
--
--   $1 its number
-- Stands on: client's primary key.
-- Called by: the heartbeat, at the very end of a stop.
update {schema}.client
set ended_at = statement_timestamp(), ended_as = 'stopped'
where number = $1 and ended_at is null
