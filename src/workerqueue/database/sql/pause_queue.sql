-- Pause a queue, a dynamic one, or all (`*`), and tell every client.
--
-- Claims read the table, so that it is in force with the commit of this.
--   $1 its name  $2 the channel  $3 what to say there
-- Answers whether it was not paused before.
-- Stands on: queue's primary key.
-- Called by: client.queues.
with paused as (
    insert into {schema}.queue as held (name, paused_at)
    values ($1, statement_timestamp())
    on conflict (name) do update
    set paused_at = statement_timestamp(), changed_at = statement_timestamp()
    where held.paused_at is null
    returning name
)
select count(*) > 0 as changed, count(pg_notify($2, $3)) from paused
