-- Register a schedule, or change one; where nothing is changed it keeps its next time.
--
--   $1 its name  $2 its definition (JSON)  $3 when it fires next, if it is new or changed  $4 the channel  $5 what to say there
-- Answers whether anything changed.
-- Stands on: schedule's primary key.
-- Called by: working clients, when they start; client.schedules.
with changed as (
    insert into {schema}.schedule as held (name, definition, next_at)
    values ($1, $2::text::jsonb, $3)
    on conflict (name) do update
    set definition = excluded.definition, next_at = excluded.next_at, last_error = null
    where held.definition is distinct from excluded.definition
    returning name
)
select count(*) > 0 as changed, count(pg_notify($4, $5)) from changed
