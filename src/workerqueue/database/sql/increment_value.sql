-- Add to the number of a key; one that is missing or has expired starts at nothing, and only then has the time to live.
--
--   $1 the key  $2 how much  $3 seconds after which it expires, or null
-- Answers the sum, or null where the value is no whole number.
-- Stands on: value's primary key.
-- Called by: client.kv.
insert into {schema}.value as held (key, value, expires_at)
values ($1, to_jsonb($2::bigint), statement_timestamp() + make_interval(secs => $3::float8))
on conflict (key) do update
set value = case when held.expires_at <= statement_timestamp() then excluded.value
                 when jsonb_typeof(held.value) = 'number' and held.value::numeric % 1 = 0
                 then to_jsonb(held.value::numeric + $2::bigint)
                 else held.value end,
    expires_at = case when held.expires_at <= statement_timestamp() then excluded.expires_at else held.expires_at end
returning case when jsonb_typeof(value) = 'number' and value::numeric % 1 = 0 then value::text end as sum
