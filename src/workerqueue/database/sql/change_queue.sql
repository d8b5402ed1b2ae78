-- Change what a queue has at run time, and tell every client.
--
--   $1 its name  $2 what is to change (JSON): max_workers, global_limit, rate_starts and rate_seconds, burst, is_added;
--   null goes back to what is configured  $3 the channel  $4 what to say there
-- Stands on: queue's primary key.
-- Called by: client.queues.
with given as (
    select $2::text::jsonb as said
),
changed as (
    insert into {schema}.queue as held (
        name, max_workers, global_limit, rate_starts, rate_seconds, burst, is_added
    )
    select $1, (said ->> 'max_workers')::integer, (said ->> 'global_limit')::integer, (said ->> 'rate_starts')::integer,
           (said ->> 'rate_seconds')::real, (said ->> 'burst')::integer, coalesce((said ->> 'is_added')::boolean, false)
    from given
    on conflict (name) do update
    set max_workers = case when $2::text::jsonb ? 'max_workers' then excluded.max_workers else held.max_workers end,
        global_limit = case when $2::text::jsonb ? 'global_limit' then excluded.global_limit else held.global_limit end,
        rate_starts = case when $2::text::jsonb ? 'rate_starts' then excluded.rate_starts else held.rate_starts end,
        rate_seconds = case when $2::text::jsonb ? 'rate_starts' then excluded.rate_seconds else held.rate_seconds end,
        burst = case when $2::text::jsonb ? 'rate_starts' then excluded.burst else held.burst end,
        is_added = held.is_added or excluded.is_added,
        changed_at = statement_timestamp()
    returning name
)
select count(pg_notify($3, $4)) from changed
