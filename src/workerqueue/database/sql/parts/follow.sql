-- Insert the follow-ups of what `ended` as discarded and `follows`, in the same commit.
followed as (
    insert into {schema}.job (
        kind, queue, lane, pool, priority, max_attempts, timeout_seconds, state,
        scheduled_at, args, retry, tags, metadata, on_discard, context, deadline_at
    )
    select next.kind, next.queue, next.lane, next.pool, next.priority, next.max_attempts, next.timeout_seconds,
           case when next.pending then 'pending'
                when due.at > statement_timestamp() then 'scheduled'
                else 'available' end::{schema}.job_state,
           due.at, next.args, next.retry, next.tags, next.metadata, next.on_discard, ended.context,
           case when next.deadline_seconds is null then next.deadline_at
                else statement_timestamp() + make_interval(secs => next.deadline_seconds) end
    from ended
    cross join lateral jsonb_to_record(ended.on_discard) as next (
        kind text, queue text, lane text, pool text, priority smallint, max_attempts integer, timeout_seconds real,
        scheduled_at timestamptz, delay_seconds float8, pending boolean,
        args jsonb, retry jsonb, tags text[], metadata jsonb, on_discard jsonb, deadline_at timestamptz,
        deadline_seconds float8
    )
    cross join lateral (
        select coalesce(next.scheduled_at, statement_timestamp() + make_interval(secs => next.delay_seconds)) as at
    ) as due
    where ended.final_state = 'discarded' and ended.follows and ended.on_discard is not null
    returning pool, state
)
