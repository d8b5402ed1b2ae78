-- The runs that have just had their turn, as a claim gives its own.
(select json_agg(json_build_array(
    id, kind, args::text, queue, pool, priority, attempt, max_attempts, timeout_seconds,
    created_at, scheduled_at, attempted_at,
    {part rest}
)) from runs)::text
