-- Say that a client is alive, and tell whether it still counts as such and whether another one should be rescued.
--
--   $1 its number  $2 seconds without a beat after which a client is dead
-- Stands on: client's primary key, client_alive.
-- Called by: the heartbeat.
with beaten as (
    update {schema}.client
    set heartbeat_at = statement_timestamp()
    where number = $1 and ended_at is null
    returning number
)
select exists (select from beaten) as alive,
       exists (
           select from {schema}.client
           where ended_at is null and heartbeat_at < statement_timestamp() - make_interval(secs => $2::float8)
       ) as overdue
