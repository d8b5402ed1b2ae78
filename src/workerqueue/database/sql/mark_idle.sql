-- Say that a client waits to be told of new jobs, for so many seconds.
--
--   $1 the client's id  $2 its pools  $3 seconds
-- Stands on: idle's primary key.
-- Called by: the producer, when it has found nothing to do.
insert into {schema}.idle (pool, client, until)
select pool, $1::text, statement_timestamp() + make_interval(secs => $3::float8)
from unnest($2::text[]) as pools (pool)
order by pool
on conflict (pool, client) do update
set until = excluded.until
