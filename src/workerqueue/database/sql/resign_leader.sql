-- Give up the lead, if this client has it, and tell the others.
--
--   $1 the client's number  $2 the channel to notify  $3 what to say there
-- Stands on: leader's primary key.
-- Called by: leader, when it stops.
with resigned as (
    update {schema}.leader
    set until = statement_timestamp()
    where name = 'leader' and client = $1 and until > statement_timestamp()
    returning name
)
select pg_notify($2, $3) from resigned
