-- Change a live job; of one that runs only tags and metadata.
--
--   $1 its id  $2 what changes (JSON): priority, max_attempts, timeout_seconds, tags, metadata, args; scheduled_at or
--   delay_seconds  $3 whether a job that runs may be changed so  $4 the channel to notify
-- Answers as cancel_jobs.sql does.
-- Stands on: job's primary key.
-- Called by: client.jobs.
with found as materialized (
    select id, state from {schema}.job where id = $1::bigint for update
),
new as materialized (
    select said.*, $2::text::jsonb as given,
           coalesce(said.scheduled_at, statement_timestamp() + make_interval(secs => said.delay_seconds)) as due_at
    from jsonb_to_record($2::text::jsonb) as said (
        priority smallint, max_attempts smallint, timeout_seconds real, tags text[], metadata jsonb, args jsonb,
        scheduled_at timestamptz, delay_seconds float8
    )
),
changed as (
    update {schema}.job
    set priority = coalesce(new.priority, job.priority),
        max_attempts = coalesce(new.max_attempts, job.max_attempts),
        timeout_seconds = coalesce(new.timeout_seconds, job.timeout_seconds),
        tags = case when given ? 'tags' then new.tags else job.tags end,
        metadata = case when given ? 'metadata' then new.metadata else job.metadata end,
        args = coalesce(new.args, job.args),
        -- What its lane was made of may have changed; without one it is found, and held to the rules, all the same.
        lane = case when new.args is null then job.lane end,
        scheduled_at = coalesce(due_at, job.scheduled_at),
        state = case when due_at is null or job.state in ('pending', 'running') then job.state
                     when due_at > statement_timestamp() then 'scheduled'
                     when job.state = 'waiting' then 'waiting'
                     else 'available' end::{schema}.job_state
    from found, new
    where job.id = $1::bigint and job.id = found.id and (found.state <> 'running' or $3)
    returning job.id, job.pool, job.state
),
woken as (
    select pg_notify($4, pool)
    from changed
    where state = 'available' and exists (
        select from {schema}.idle where idle.pool = changed.pool and idle.until > statement_timestamp()
    )
)
select id, state <> 'running' or $3 as ok, case state when 'waiting' then 'pending' else state::text end as state,
       null::text as queue, (select count(*) from woken) as woken, (select count(*) from changed) as changed
from found
