-- Pause a schedule, or let it go on from its next time.
--
--   $1 its name  $2 its next time: null to pause it  $3 the channel  $4 what to say there
-- Answers a row if it is there.
-- Stands on: schedule's primary key.
-- Called by: client.schedules.
with changed as (
    update {schema}.schedule
    set paused_at = case when $2::timestamptz is null then coalesce(paused_at, statement_timestamp()) end,
        next_at = coalesce($2, next_at)
    where name = $1
    returning name
)
select name, pg_notify($3, $4) from changed
