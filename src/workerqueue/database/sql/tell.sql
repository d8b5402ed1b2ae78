-- Tell subscribers what happened to jobs: on each one's channel, the type, when, and ids, some at a time.
--
--   $1 types  $2 ids  $3 kinds
-- Ids alone, and few of them: anybody can listen, and a long notification is refused.
-- Reads subscriber, which has a row for each.
-- Called by: the teller.
select count(pg_notify(subscriber.channel, said.payload)) as told
from {schema}.subscriber
cross join lateral (
    select type || ' ' || extract(epoch from statement_timestamp()) || ' ' || string_agg(id::text, ' ' order by place)
           as payload
    from (
        select type, id, place, (row_number() over (partition by type order by place) - 1) / 8 as part
        from unnest($1::text[], $2::bigint[], $3::text[]) with ordinality as happened (type, id, kind, place)
        where (subscriber.types is null or type = any (subscriber.types))
          and (subscriber.kinds is null or kind = any (subscriber.kinds))
    ) as wanted
    group by type, part
    order by min(place)
) as said
where subscriber.until > statement_timestamp()
