-- Hold keys until the transaction ends: whoever inserts under one of them waits, and sees what this one made of it.
--
-- Answers each key as it is stored, with the period it falls in, in the order of the input.
--   $1 keys  $2 periods in seconds, null where there is none
-- In the order of the keys, so that two who hold several wait for each other once.
-- Stands on: job_key's primary key.
-- Called by: whatever inserts a job that has a key.
with asked as materialized (
    select given.place,
           given.key || case when given.period is null then ''
                             else chr(31) || floor(extract(epoch from statement_timestamp()) / given.period)::bigint
                        end as key
    from unnest($1::text[], $2::float8[]) with ordinality as given (key, period, place)
),
held as (
    insert into {schema}.job_key as held (key)
    select distinct key from asked
    order by key
    on conflict (key) do update
    set key = excluded.key
    returning key
)
select array(select key from asked order by place) as keys, (select count(*) from held) as held
