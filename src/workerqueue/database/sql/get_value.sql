-- Read the value of a key, unless it has expired.
--
--   $1 the key
-- Stands on: value's primary key.
-- Called by: client.kv.
select value::text
from {schema}.value
where key = $1 and (expires_at is null or expires_at > statement_timestamp())
