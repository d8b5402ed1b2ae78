-- What runs and is counted, and how many jobs a pool may be given by its own limit and rate.
running as materialized (
    select job.pool, job.kind, split_part(job.lane, chr(31), 3) as part, job.client, count(*)::integer as jobs
    from {schema}.job
    where job.state = 'running' and job.is_counted
      and (job.pool = any (array(select pool.pool from pool where pool.global_limit is not null))
           or job.kind = any (array(select kind.kind from kind)))
    group by 1, 2, 3, 4
),
-- Far from its limit a pool may be given more than it has free slots for; near it, others may have them free.
pool_room as materialized (
    select rule.*, rate.free_in,
           greatest(least(
               rule.most, limited.room, rate.room,
               case when limited.room is not null then greatest(rule.free, limited.room / 2) end,
               case when rule.rate_starts is not null then rule.free end
           ), 0) as room
    from pool as rule
    cross join lateral (
        select rule.global_limit - coalesce(sum(running.jobs), 0)::integer as room
        from running where running.pool = rule.pool
    ) as limited
    left join lateral (
        {part rate_room}
    ) as rate on true
)
