-- Move what has `ended` into the history, with its final state, its last error and its output; and count it there.
finalized as (
    insert into {schema}.job_finalized (
        id, kind, queue, pool, state, priority, attempt, max_attempts, timeout_seconds, created_at, scheduled_at,
        attempted_at, client, attempted_by, args, errors, tags, metadata, retry, on_discard, context,
        progress, checkpoint, deadline_at, output
    )
    select id, kind, queue, pool, final_state, priority, attempt, max_attempts, timeout_seconds, created_at, scheduled_at,
           attempted_at, client, attempted_by, args,
           case when entry is null then errors
                when jsonb_array_length(errors) >= 100 then (errors - 0) || entry
                else coalesce(errors, '[]') || entry end,
           tags, metadata, retry, on_discard, context, progress, checkpoint, deadline_at, output
    from ended
),
tallied as (
    insert into {schema}.tally (day, pool, state, jobs)
    select (statement_timestamp() at time zone 'UTC')::date, pool, final_state, count(*)
    from ended
    group by pool, final_state
)
