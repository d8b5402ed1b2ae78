-- Delete a key, and tell whether it had a value that had not expired.
--
--   $1 the key
-- Stands on: value's primary key.
-- Called by: client.kv.
delete from {schema}.value
where key = $1
returning (expires_at is null or expires_at > statement_timestamp()) as was_there
