-- Write how runs ended: final outcomes move the row to the history, the others put it back.
outcome as (
    select id, lease, coalesce(state, 'completed')::{schema}.job_state as state, delay, counts, output::jsonb,
           case when error is not null
                then jsonb_build_object('at', statement_timestamp()) || error::jsonb end as entry
    -- The subscripts are there for the planner alone: of them it expects a thousand rows, of arrays ten, and for
    -- ten it may compare every job with every outcome.
    from rows from (
        unnest($1::bigint[]), unnest($2::bigint[]), unnest($3::text[]), unnest($4::float8[]), unnest($5::boolean[]),
        unnest($6::text[]), unnest($7::text[]), generate_subscripts($1::bigint[], 1)
    ) as outcome (id, lease, state, delay, counts, error, output)
),
ended as (
    delete from {schema}.job
    using outcome
    where job.id = any ($1::bigint[])  -- keeps the planner on the primary key, whatever it thinks of the join
      and job.id = outcome.id and job.lease = outcome.lease
      and outcome.state in ('completed', 'cancelled', 'discarded')
    returning job.*, outcome.state as final_state, outcome.entry, outcome.output, $9::boolean as follows
),
{part finalize},
{part follow},
returned as (
    update {schema}.job
    set state = outcome.state,
        lease = null,
        attempt = job.attempt - case when outcome.counts then 0 else 1 end,
        -- A run that a stop cut off keeps its place in the order.
        scheduled_at = case when outcome.state = 'available' then job.scheduled_at
                            else statement_timestamp() + make_interval(secs => outcome.delay) end,
        errors = case when outcome.entry is null then job.errors
                      when jsonb_array_length(job.errors) >= 100 then (job.errors - 0) || outcome.entry
                      else coalesce(job.errors, '[]') || outcome.entry end
    from outcome
    where job.id = any ($1::bigint[])
      and job.id = outcome.id and job.lease = outcome.lease
      and outcome.state in ('available', 'scheduled', 'retryable')
    returning job.id, job.pool, job.state, job.queue
),
woken as (
    select pg_notify($8, pool)
    from (
        select pool from followed where state = 'available'
        union
        select pool from returned where state = 'available'
    ) as ready
    where exists (
        select from {schema}.idle where idle.pool = ready.pool and idle.until > statement_timestamp()
    )
)
