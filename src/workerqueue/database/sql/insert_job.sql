-- Insert one job, and wake the idle clients of its pool when the transaction commits.
--
-- Does for one job what insert_jobs.sql does for many; by itself it takes half the time of that one for a single job.
--   $1 kind  $2 args (JSON)  $3 dynamic queue or null  $4 pool  $5 priority  $6 max_attempts  $7 timeout in seconds
--   $8 scheduled_at or null  $9 delay in seconds, counted from now where $8 is null  $10 parked by hand
--   $11 retry policy (JSON) or null  $12 tags or null  $13 metadata (JSON) or null
--   $14 the job to insert if this one is discarded (JSON) or null  $15 the channel to notify  $16 lane or null
--   $17 context (JSON) or null  $18 deadline or null  $19 the same in seconds from now, or null
-- Types go in as text and are cast here, so that a caller's own codecs on the connection change nothing.
-- Stands on: idle's primary key.
-- Called by: Client.insert of a lone caller, insert_kind, insert_tx.
insert into {schema}.job (
    kind, args, queue, pool, priority, max_attempts, timeout_seconds, state, scheduled_at, retry, tags, metadata, on_discard,
    lane, context, deadline_at
)
values (
    $1, $2::text::jsonb, $3, $4, $5, $6, $7,
    case when $10::boolean then 'pending'
         when coalesce($8::timestamptz, statement_timestamp() + make_interval(secs => $9::float8))
              > statement_timestamp() then 'scheduled'
         else 'available' end::{schema}.job_state,
    coalesce($8::timestamptz, statement_timestamp() + make_interval(secs => $9::float8)),
    $11::text::jsonb, $12::text[], $13::text::jsonb, $14::text::jsonb, $16, $17::text::jsonb,
    case when $19::float8 is null then $18::timestamptz
         else statement_timestamp() + make_interval(secs => $19::float8) end
)
returning id, created_at,
          case when state = 'available'
                    -- In order, so that it is found by the index on a caller's connection, too, however many wait.
                    and (select true from {schema}.idle
                         where idle.pool = job.pool and idle.until > statement_timestamp()
                         order by idle.client limit 1)
               then pg_notify($15, pool)::text end as woken,
          exists (select from {schema}.subscriber where until > statement_timestamp()) as is_heard
