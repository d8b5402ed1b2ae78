-- Have events told on a channel for a while, and say so to every client; who left without a word is forgotten.
--
--   $1 the subscriber's channel  $2 types, or null: all  $3 kinds, or null: all  $4 for how many seconds
--   $5 the channel of all clients  $6 what to say there
-- Stands on: subscriber's primary key.
-- Called by: Client.subscribe, now and again.
with forgotten as (
    delete from {schema}.subscriber where until < statement_timestamp() and channel <> $1
),
held as (
    insert into {schema}.subscriber as held (channel, types, kinds, until)
    values ($1, $2::text[], $3::text[], statement_timestamp() + make_interval(secs => $4::float8))
    on conflict (channel) do update
    set until = excluded.until
    returning channel
)
select pg_notify($5, $6) from held
