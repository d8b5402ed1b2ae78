-- Set a key to a value; only where it has none, if so wished.
--
--   $1 the key  $2 the value (JSON)  $3 seconds after which it expires, or null  $4 whether only where there is none
-- Answers a row if it was set.
-- Stands on: value's primary key.
-- Called by: client.kv.
insert into {schema}.value as held (key, value, expires_at)
values ($1, $2::text::jsonb, statement_timestamp() + make_interval(secs => $3::float8))
on conflict (key) do update
set value = excluded.value, expires_at = excluded.expires_at
where not $4::boolean or held.expires_at <= statement_timestamp()
returning key
