-- Give a client its number: the one it had before, if it is known.
--
--   $1 the client's id
-- Stands on: client's unique index on id.
-- Called by: the producer, when it has connected.
insert into {schema}.client (id)
values ($1)
on conflict (id) do update
set started_at = excluded.started_at
returning number
