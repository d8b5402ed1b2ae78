-- Claim jobs that were chosen by the rules of their pools and kinds, as claim_jobs.sql claims what comes first.
--
--   $1 lease: a random number that every write of these runs must repeat
--   $2 the client's number  $3 the kinds this client can work
--   $4 how many jobs of one dynamic queue may run at once, by kind  $5 whether its order is strict, by kind
--   $6 every pool that this client works  $7 whether limits count what is claimed (true or null)
--   $8 the ids of the chosen  $9 their pool  $10 whether the caller holds its gate
-- What others have taken since it was chosen is left out; all is, where the pool was paused or given a rule since that the
-- caller does not know of.
-- Stands on: job's primary key, job_turn, dynamic_queue's primary key.
-- Called by: the producer, where pools have rules.
with ready as materialized (
    select job.id, job.queue, job.kind, job.priority, job.scheduled_at
    from {schema}.job
    where job.id = any ($8::bigint[]) and job.state = 'available'
      -- A client that was declared dead, and does not know it yet, gets nothing.
      and exists (select from {schema}.client where number = $2::integer and ended_at is null)
      and not exists (
          select from {schema}.queue
          where (queue.paused_at is not null or queue.is_ruled) and queue.name in ($9::text, '*')
            and (queue.paused_at is not null or not $10::boolean)
      )
    order by job.id
    for update skip locked
),
{part claim}
