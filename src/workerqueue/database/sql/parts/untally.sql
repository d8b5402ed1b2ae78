-- Count what was `deleted` from the history no more.
untallied as (
    insert into {schema}.tally (day, pool, state, jobs)
    select (finalized_at at time zone 'UTC')::date, pool, state, -count(*)
    from deleted
    group by 1, 2, 3
)
