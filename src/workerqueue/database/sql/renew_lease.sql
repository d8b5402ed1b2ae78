-- Hold a lease for longer, if it is still held.
--
--   $1 the key  $2 its place  $3 its number  $4 seconds
-- Stands on: lease's primary key.
-- Called by: client.lock, client.semaphore, while a lease is held.
update {schema}.lease
set until = statement_timestamp() + make_interval(secs => $4::float8)
where key = $1 and place = $2 and token = $3 and until > statement_timestamp()
returning place
