-- Start those of the `ready` jobs whose turn it is; the others of dynamic queues are set aside.
next as (
    select queue as name, array_agg(id order by priority, scheduled_at, id) as ids,
           min(($4::smallint[])[array_position($3::text[], kind)]) as most,
           bool_or(($5::boolean[])[array_position($3::text[], kind)]) as strict
    from ready
    where queue is not null
    group by queue
),
turn as (
    insert into {schema}.dynamic_queue as held (name, jobs, most, strict, waiting)
    select next.name, case when held_up.is_so then '{}' else next.ids[1:next.most] end, next.most, next.strict,
           held_up.is_so or cardinality(next.ids) > next.most
    from next
    cross join lateral (
        select job.id
        from {schema}.job
        where job.queue = next.name and job.state in ('available', 'waiting')
          and job.kind = any ($3::text[]) and job.pool = any ($6::text[])
        order by job.priority, job.scheduled_at, job.id
        limit 1
    ) as first
    -- Where an earlier one is there, some other claim has it in hand; in strict order, only who holds the row can tell
    -- (hand_over.sql), since what was running may come again.
    cross join lateral (
        select next.strict or next.ids[1] <> first.id or exists (
            select from {schema}.queue
            where (queue.paused_at is not null or queue.is_ruled) and queue.paused_at is not null
              and queue.name = next.name
        ) as is_so
    ) as held_up
    order by next.name
    on conflict (name) do update
    set jobs = held.jobs || case when held.strict then '{}'
                                 else excluded.jobs[1:greatest(excluded.most - cardinality(held.jobs), 0)] end,
        most = excluded.most,
        strict = held.strict or excluded.strict,
        waiting = held.waiting or excluded.waiting or held.strict
                  or cardinality(excluded.jobs) > excluded.most - cardinality(held.jobs)
    returning jobs
),
chosen as materialized (
    select array(select unnest(jobs) from turn) as ids
)
update {schema}.job
set state = case when queue is null or id = any ((select ids from chosen)::bigint[])
                 then 'running' else 'waiting' end::{schema}.job_state,
    lease = case when queue is null or id = any ((select ids from chosen)::bigint[]) then $1::bigint end,
    attempt = case when queue is null or id = any ((select ids from chosen)::bigint[])
                   then least(attempt, 32766) + 1 else attempt end,
    attempted_at = case when queue is null or id = any ((select ids from chosen)::bigint[])
                        then statement_timestamp() else attempted_at end,
    client = case when queue is null or id = any ((select ids from chosen)::bigint[]) then $2::integer else client end,
    is_counted = coalesce($7::boolean, is_counted),
    -- The newest 100: snoozes may start a job any number of times.
    attempted_by = case when client is not null and (queue is null or id = any ((select ids from chosen)::bigint[]))
                        then array_append(attempted_by[greatest(cardinality(attempted_by) - 97, 1):], client)
                        else attempted_by end
-- Not joined: the planner expects a hundred times LIMIT rows of a join and reads the whole table for them.
where id = any (array(select id from ready))
returning id, case when state = 'running' then kind end as kind,
          case when state = 'running' then args::text else kind end as args, queue, pool, priority, attempt,
          max_attempts, timeout_seconds, created_at, scheduled_at, attempted_at,
          {part rest} as rest
