-- How many starts a rate leaves, or in how many seconds it will leave one: never more than so many in any time so long,
-- and never more than a burst in the time the rate takes for one.
select least(rule.rate_starts - log.used, rule.burst - spread.ahead) as room,
       greatest(
           case when log.used >= rule.rate_starts then log.first_ends end,
           case when spread.ahead >= rule.burst then (spread.ahead - rule.burst + 1) * each.takes end
       ) as free_in
from (select rule.rate_seconds / rule.rate_starts as takes) as each
-- LIMIT keeps the planner from reading all gates and joining them.
left join lateral (
    select started, starts, spread_to from {schema}.gate where name = rule.gate limit 1
) as gate on true
cross join lateral (
    select coalesce(sum(lately.starts), 0)::integer as used,
           extract(epoch from min(lately.at) - statement_timestamp())::float8 + rule.rate_seconds as first_ends
    from unnest(gate.started, gate.starts) as lately (at, starts)
    where lately.at > statement_timestamp() - make_interval(secs => rule.rate_seconds)
) as log
cross join lateral (
    select ceil(greatest(
        coalesce(extract(epoch from gate.spread_to - statement_timestamp())::float8, 0), 0
    ) / each.takes)::integer as ahead
) as spread
where rule.rate_starts is not null
