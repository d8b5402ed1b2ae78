-- Insert jobs in the order given, and wake the idle clients of their pools when the transaction commits.
--
-- One array a column, an element a job. Types go in as text and are cast here, so that a caller's own codecs on
-- the connection change nothing and every driver can send them.
--   $1 kind  $2 args (JSON)  $3 queue  $4 pool  $5 priority  $6 max_attempts  $7 timeout in seconds
--   $8 scheduled_at or null  $9 delay in seconds, counted from now where $8 is null  $10 parked by hand
--   $11 retry policy (JSON) or null  $12 tags (array literal) or null  $13 metadata (JSON) or null
--   $14 the job to insert if this one is discarded (JSON) or null  $15 the channel to notify
-- Called by: Client.insert, insert_many and their kin in a transaction.
with given as (
    select given.*,
           coalesce(given.scheduled_at, statement_timestamp() + make_interval(secs => given.delay)) as due_at
    from unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::integer[], $7::float8[],
        $8::timestamptz[], $9::float8[], $10::boolean[], $11::text[], $12::text[], $13::text[], $14::text[]
    ) with ordinality as given (
        kind, args, queue, pool, priority, max_attempts, timeout,
        scheduled_at, delay, pending, retry, tags, metadata, on_discard, place
    )
),
inserted as (
    insert into {schema}.job (
        kind, args, queue, pool, priority, max_attempts, timeout, state,
        scheduled_at, retry, tags, metadata, on_discard
    )
    select kind, args::jsonb, queue, pool, priority, max_attempts, make_interval(secs => timeout),
           case when pending then 'pending'
                when due_at > statement_timestamp() then 'scheduled'
                else 'available' end,
           due_at, retry::jsonb, tags::text[], metadata::jsonb, on_discard::jsonb
    from given
    order by place  -- ids are handed out in this order, which is how results find their inputs
    returning id, pool, state, created_at, scheduled_at
),
woken as (
    select pg_notify($15, pool)
    from (select distinct pool from inserted where state = 'available') as ready
    where exists (
        select from {schema}.idle where idle.pool = ready.pool and idle.until > statement_timestamp()
    )
)
-- A statement in WITH that only reads runs only if it is read: hence the count.
select id, state, created_at, scheduled_at, (select count(*) from woken) as woken
from inserted
order by id
