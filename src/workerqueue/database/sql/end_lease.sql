-- Give a lease back, if it is still held.
--
--   $1 the key  $2 its place  $3 its number
-- Stands on: lease's primary key.
-- Called by: client.lock, client.semaphore, in the end.
update {schema}.lease
set until = statement_timestamp()
where key = $1 and place = $2 and token = $3 and until > statement_timestamp()
