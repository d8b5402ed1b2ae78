-- Tell whether clients' signs of life leave no room for an outage that could have kept one of them from its beats.
--
-- Clients come, beat and go. Where processes are started and killed one after the other nobody is old enough to know,
-- but together they do.
--   $1 seconds to look back  $2 seconds without any sign that may have been an outage
-- Reads client, where somebody is overdue and this client has not been there for long.
-- Called by: the heartbeat.
select max(sign.at - sign.before) < make_interval(secs => $2::float8) as was_there
from (
    select seen.at,
           lag(seen.at, 1, statement_timestamp() - make_interval(secs => $1::float8)) over (order by seen.at) as before
    from (
        select unnest(array[started_at, heartbeat_at, ended_at]) as at from {schema}.client
        union all
        select statement_timestamp()
    ) as seen
    where seen.at > statement_timestamp() - make_interval(secs => $1::float8)
) as sign
