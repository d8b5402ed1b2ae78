-- Insert jobs in the order given, but none whose insert_id is known, and wake the idle clients of their pools when the
-- transaction commits; give an id for each, null where the job is there already.
--
--   $1 args (JSON)  $2 dynamic queues, null where there is none (or null: for all)
--   $3 each job's terms, by their place in $4 (or null: the first for all)
--   $4 terms (a JSON array of objects), as insert_jobs.sql reads them
--   $5 the channel to notify  $6 lanes, null where there is none (or null: for all)
--   $7 contexts (JSON), null where there is none (or null: for all)
--   $8 insert_ids, null where there is none
-- A key that another transaction is about to insert is waited for: if that one commits, the job is there; if it rolls
-- back, it is inserted here. What a null stands for may have been committed after this statement began, so it is for
-- the next one to find. Keys are taken in one order, so that no two statements wait for each other.
-- Who inserts cleans up: up to twice as many keys as are new here, of those older than a day.
-- Stands on: insert_key's primary key, insert_key_old.
-- Called by: whatever inserts a job that has an insert_id.
with given as (
    select terms.*, given.args, given.queue, given.lane, given.context::jsonb as context, given.insert_id::uuid as insert_id, given.place,
           case when terms.deadline_seconds is null then terms.deadline_at
                else statement_timestamp() + make_interval(secs => terms.deadline_seconds) end as end_at,
           coalesce(
               terms.scheduled_at, statement_timestamp() + make_interval(secs => terms.delay_seconds)
           ) as due_at
    from unnest($1::text[], $2::text[], $3::integer[], $6::text[], $7::text[], $8::text[])
         with ordinality as given (args, queue, terms, lane, context, insert_id, place)
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
-- A key names its job, so the job's id is drawn before both are written; one that is not used is lost.
numbered as materialized (
    select in_order.*, nextval((select pg_get_serial_sequence('{schema}.job', 'id'))::regclass) as id
    from (select * from given order by place) as in_order
),
keyed as (
    insert into {schema}.insert_key (insert_id, job)
    select insert_id, id
    from numbered
    where insert_id is not null
    order by insert_id, place
    on conflict (insert_id) do nothing
    returning job
),
forgotten as (
    delete from {schema}.insert_key
    where insert_id = any (array(
        select insert_id
        from {schema}.insert_key
        where created_at < statement_timestamp() - interval '1 day'
        order by created_at
        limit 2 * cardinality($8::text[])
        for update skip locked
    ))
),
inserted as (
    insert into {schema}.job (
        id, kind, args, queue, pool, priority, max_attempts, timeout_seconds, state,
        scheduled_at, retry, tags, metadata, on_discard, lane, context, deadline_at
    )
    overriding system value
    select id, kind, args::jsonb, queue, pool, priority, max_attempts, timeout_seconds,
           case when pending then 'pending'
                when due_at > statement_timestamp() then 'scheduled'
                else 'available' end::{schema}.job_state,
           due_at, retry, tags, metadata, on_discard, lane, context, end_at
    from numbered
    where insert_id is null or id in (select job from keyed)
    order by place
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
select array_agg(inserted.id order by numbered.place) as ids, statement_timestamp() as at,
       (select count(*) from woken) as woken,
       exists (select from {schema}.subscriber where until > statement_timestamp()) as is_heard
from numbered
left join inserted on inserted.id = numbered.id
