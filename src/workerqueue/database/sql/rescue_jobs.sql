-- Declare clients dead that have not beaten for too long, and free the jobs that no living client runs.
--
-- A start that ended so counts: a job that has one left is available at once, with an entry in its history; one that
-- has none is discarded, and its follow-up inserted in the same commit. No kind needs to be known for that. A job that
-- another transaction holds is left to the next sweep.
--   $1 seconds without a beat after which a client is dead  $2 the channel to notify
-- Reads the live table, when a client has died and once in a while.
-- Called by: the heartbeat of any client, at once where several see the same death.
with dead as (
    update {schema}.client
    set ended_at = statement_timestamp(), ended_as = 'lost'
    where ended_at is null and heartbeat_at < statement_timestamp() - make_interval(secs => $1::float8)
    returning number, id
),
stranded as materialized (
    select job.id, job.lease
    from {schema}.job
    where job.state = 'running'
      and (
          job.client in (select number from dead)
          or not exists (select from {schema}.client where client.number = job.client and client.ended_at is null)
      )
),
lost as materialized (
    select job.id, job.lease
    from {schema}.job
    -- By id and lease: what has been claimed anew since this statement began is another run.
    where job.id = any (array(select id from stranded)) and job.lease = any (array(select distinct lease from stranded))
    order by job.id
    -- A job that another transaction holds may be ending there; whoever waited for it could not beat meanwhile.
    for update skip locked
),
ended as (
    delete from {schema}.job
    where job.id = any (array(select id from lost)) and job.lease = any (array(select distinct lease from lost))
      and job.attempt >= job.max_attempts
    returning job.*, 'discarded'::{schema}.job_state as final_state, {part lost_entry} as entry,
              null::jsonb as output, true as follows
),
{part finalize},
{part follow},
returned as (
    update {schema}.job
    set state = 'available',
        lease = null,
        errors = case when jsonb_array_length(errors) >= 100 then errors - 0 else coalesce(errors, '[]') end
                 || {part lost_entry}
    where job.id = any (array(select id from lost)) and job.lease = any (array(select distinct lease from lost))
      and job.attempt < job.max_attempts
    returning job.id, job.kind, job.pool, job.queue
),
woken as (
    select pg_notify($2, pool)
    from (select pool from followed where state = 'available' union select pool from returned) as ready
    where exists (
        select from {schema}.idle where idle.pool = ready.pool and idle.until > statement_timestamp()
    )
)
select array(select id from dead) as dead,
       array(select id from returned) as returned,
       array(select id from ended) as discarded,
       array(
           select queue from returned where queue is not null union select queue from ended where queue is not null
       ) as turns,
       array(select kind from returned) as returned_kinds,
       array(select kind from ended) as discarded_kinds,
       (select count(*) from woken) as woken
