-- Insert jobs in the order given, and wake the idle clients of their pools when the transaction commits.
--
--   $1 args (JSON)  $2 dynamic queues, null where there is none (or null: for all)
--   $3 each job's terms, by their place in $4 (or null: the first for all)
--   $4 terms (a JSON array of objects): what jobs have in common, so that it is sent and read once for all of them
--   $5 the channel to notify  $6 lanes, null where there is none (or null: for all)
--   $7 contexts (JSON), null where there is none (or null: for all)
-- Types go in as text and are cast here, so that a caller's own codecs on the connection change nothing.
-- Called by: Client.insert where callers meet, insert_many, insert_many_tx.
with given as (
    select terms.*, given.args, given.queue, given.lane, given.context::jsonb as context, given.place,
           case when terms.deadline_seconds is null then terms.deadline_at
                else statement_timestamp() + make_interval(secs => terms.deadline_seconds) end as end_at,
           coalesce(
               terms.scheduled_at, statement_timestamp() + make_interval(secs => terms.delay_seconds)
           ) as due_at
    from unnest($1::text[], $2::text[], $3::integer[], $6::text[], $7::text[])
         with ordinality as given (args, queue, terms, lane, context, place)
    join rows from (
        jsonb_to_recordset($4::text::jsonb) as (
            kind text, pool text, priority smallint, max_attempts integer, timeout_seconds real,
            scheduled_at timestamptz, delay_seconds float8, pending boolean,
            retry jsonb, tags text[], metadata jsonb, on_discard jsonb, deadline_at timestamptz,
            deadline_seconds float8
        )
    ) with ordinality as terms (
        kind, pool, priority, max_attempts, timeout_seconds,
        scheduled_at, delay_seconds, pending, retry, tags, metadata, on_discard, deadline_at, deadline_seconds,
        number
    ) on terms.number = coalesce(given.terms, 1)
),
inserted as (
    insert into {schema}.job (
        kind, args, queue, pool, priority, max_attempts, timeout_seconds, state,
        scheduled_at, retry, tags, metadata, on_discard, lane, context, deadline_at
    )
    select kind, args::jsonb, queue, pool, priority, max_attempts, timeout_seconds,
           case when pending then 'pending'
                when due_at > statement_timestamp() then 'scheduled'
                else 'available' end::{schema}.job_state,
           due_at, retry, tags, metadata, on_discard, lane, context, end_at
    from given
    order by place  -- ids are handed out in this order, which is how results find their inputs
    returning id, pool, state
),
woken as (
    select pg_notify($5, pool)
    from (select distinct pool from inserted where state = 'available') as ready
    where exists (
        select from {schema}.idle where idle.pool = ready.pool and idle.until > statement_timestamp()
    )
)
-- A statement in WITH that only reads runs only if it is read: hence the count.
select array_agg(id order by id) as ids, statement_timestamp() as at, (select count(*) from woken) as woken,
       exists (select from {schema}.subscriber where until > statement_timestamp()) as is_heard
from inserted
