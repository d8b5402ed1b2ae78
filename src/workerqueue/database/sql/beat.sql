-- Say that a client is alive, and tell whether it still counts as such, whether another one should be rescued, and
-- whether this very beat is so late that nobody else may have been able to beat either; and whether anything was said of
-- queues since the last time, and which of its runs were asked to stop, for those whom no notification reaches.
--
-- By the database's clock, which also tells of a machine that was suspended; a client that counts as dead was away.
--   $1 its number  $2 seconds without a beat after which a client is dead; half of them are late
-- Stands on: client's primary key, client_alive, job_asked. Reads queue, which has a row for what was
-- paused or changed, and subscriber, which has one for each.
-- Called by: the heartbeat.
with before as (
    select heartbeat_at from {schema}.client where number = $1 and ended_at is null
),
beaten as (
    update {schema}.client
    set heartbeat_at = statement_timestamp()
    where number = $1 and ended_at is null
    returning number
)
select exists (select from beaten) as alive,
       exists (
           select from {schema}.client
           where ended_at is null and heartbeat_at < statement_timestamp() - make_interval(secs => $2::float8)
       ) as overdue,
       coalesce(
           (select statement_timestamp() - heartbeat_at > make_interval(secs => $2::float8 / 2) from before), true
       ) as late,
       -- A sum, since it is another one whichever row has changed, come or gone, whoever commits first.
       (select coalesce(sum(extract(epoch from changed_at)), 0)::text from {schema}.queue) as said_of_queues,
       array(
           select id from {schema}.job
           where job.client = $1 and job.cancel_requested_at is not null and job.state = 'running'
       ) as asked_to_stop,
       exists (select from {schema}.subscriber where until > statement_timestamp()) as is_heard
