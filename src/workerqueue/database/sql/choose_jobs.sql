-- Choose what to claim of a pool whose rules count jobs or tell them apart: limits, rates, fair shares, ageing.
--
-- Reads only: claim_chosen.sql takes what was chosen. Where rules count, the caller holds their gates (hold_gates.sql), so
-- that this statement sees every claim that was made under them. What can't be chosen costs a step a lane, not a job.
--   $1 the pool, how much room it has, and its rules (JSON, an array of one)  $2 kinds that have rules (JSON)
--   $3 the kinds this client can work  $4 its number
-- Answers ids in the order to run them; whether there is more than was chosen; in how many seconds a rate lets something
-- start that it holds back now; and the lane behind which the next choice begins.
-- A lane is written as fair share, kind and partition, chr(31) between them.
-- Stands on: job_lane, from one lane to the next (a loose index scan) and then each from its beginning, job_ready, job_counted,
-- gate's primary key.
-- Called by: the producer, where pools have rules.
with recursive {part read_rules},
{part pool_room},
kind_room as materialized (
    select rule.*, rate.free_in,
           -- None where nothing limits the kind as a whole.
           case when num_nonnulls(rule.local_limit, rule.global_limit, rate.room) > 0 then greatest(least(
               rule.local_limit - coalesce(counted.here, 0), rule.global_limit - coalesce(counted.jobs, 0), rate.room
           ), 0) end as room
    from kind as rule
    cross join lateral (
        select sum(running.jobs)::integer as jobs,
               sum(running.jobs) filter (where running.client = $4::integer)::integer as here
        from running where running.kind = rule.kind
    ) as counted
    left join lateral (
        {part rate_room}
    ) as rate on not rule.is_partitioned
),
walk (lane, priority, is_round, number) as (
    select start.lane, start.priority, start.is_round, 1
    from pool_room
    cross join lateral (
        (select job.lane, job.priority, false as is_round
         from {schema}.job
         where job.pool = pool_room.pool and job.state = 'available' and job.lane is not null
           and job.lane > pool_room.after
         order by job.lane, job.priority
         limit 1)
        union all
        (select job.lane, job.priority, true
         from {schema}.job
         where job.pool = pool_room.pool and job.state = 'available' and job.lane is not null
         order by job.lane, job.priority
         limit 1)
        limit 1
    ) as start
    where pool_room.room > 0
    union all
    select next.lane, next.priority, next.is_round, walk.number + 1
    from walk
    cross join pool_room
    cross join lateral (
        (select job.lane, job.priority, walk.is_round
         from {schema}.job
         where job.pool = pool_room.pool and job.state = 'available' and job.lane is not null
           and (job.lane, job.priority)
               > (walk.lane, case when pool_room.ageing_seconds is null then 32767 else walk.priority end)
         order by job.lane, job.priority
         limit 1)
        union all
        (select job.lane, job.priority, true
         from {schema}.job
         where not walk.is_round and job.pool = pool_room.pool and job.state = 'available' and job.lane is not null
         order by job.lane, job.priority
         limit 1)
        limit 1
    ) as next
    where walk.number < 1000 and (not next.is_round or next.lane <= pool_room.after)
),
lane as materialized (
    select walk.lane, walk.priority, split_part(walk.lane, chr(31), 1) as share,
           split_part(walk.lane, chr(31), 2) as kind, split_part(walk.lane, chr(31), 3) as part
    from walk
    where split_part(walk.lane, chr(31), 2) = any ($3::text[])
),
part_room as materialized (
    select rule.kind, rule.part, rate.free_in,
           greatest(least(rule.partition_limit - coalesce(counted.jobs, 0), rate.room), 0) as room
    from (
        select kind.*, asked.part, 'partition:' || kind.kind || ':' || asked.part as gate
        from kind
        join (
            select lane.kind, lane.part from lane union select kind.kind, '' from kind
        ) as asked (kind, part) on asked.kind = kind.kind
        where kind.partition_limit is not null or kind.is_partitioned
    ) as rule (
        kind, local_limit, global_limit, partition_limit, is_partitioned, rate_starts, rate_seconds, burst, kind_gate,
        part, gate
    )
    cross join lateral (
        select sum(running.jobs)::integer as jobs
        from running where running.kind = rule.kind and running.part = rule.part
    ) as counted
    left join lateral (
        {part rate_room}
    ) as rate on rule.is_partitioned
),
-- How much to look at of each lane: enough that a few deep ones fill the room, and many don't bring it many times over.
depth as materialized (
    select least(pool_room.room, greatest(2 * pool_room.room / greatest((select count(*) from lane), 1), 10)) as jobs
    from pool_room
),
candidate as materialized (
    select found.*, lane.lane, lane.share, lane.part
    from lane
    cross join pool_room
    left join kind_room on kind_room.kind = lane.kind
    left join part_room on part_room.kind = lane.kind and part_room.part = lane.part
    cross join lateral (
        select job.id, job.kind, job.priority, job.scheduled_at
        from {schema}.job
        where job.pool = pool_room.pool and job.state = 'available' and job.lane = lane.lane
          and job.priority >= lane.priority and (pool_room.ageing_seconds is null or job.priority = lane.priority)
        order by job.priority, job.scheduled_at, job.id
        limit least((select jobs from depth), kind_room.room, part_room.room) + 1  -- to see whether there is more
    ) as found
    union all
    -- What was inserted by somebody who knows of no rules that would tell it apart.
    select found.*, null, '', ''
    from pool_room
    cross join lateral (
        select job.id, job.kind, job.priority, job.scheduled_at
        from {schema}.job
        where job.pool = pool_room.pool and job.state = 'available' and job.lane is null
          and job.kind = any ($3::text[])
          and job.kind <> all (array(select kind_room.kind from kind_room where kind_room.room = 0))
        order by job.priority, job.scheduled_at, job.id
        limit pool_room.room + 1
    ) as found
    where pool_room.room > 0
),
-- One of each share after the other, beginning behind the share that was served last; without shares all are one.
placed as (
    select candidate.*, 1::bigint as place, '' as turn, false as was_served
    from candidate
    where not (select is_fair from pool_room)
    union all
    select candidate.*,
           row_number() over (
               partition by candidate.share
               order by extract(epoch from candidate.scheduled_at)::float8
                        + candidate.priority * (select ageing_seconds from pool_room),
                        candidate.priority, candidate.scheduled_at, candidate.id
           ),
           candidate.share, candidate.share <= (select split_part(after, chr(31), 1) from pool_room)
    from candidate
    where (select is_fair from pool_room)
),
ranked as materialized (
    select placed.id, placed.kind, placed.part, placed.lane,
           row_number() over (
               order by placed.place, placed.was_served, placed.turn,
                        extract(epoch from placed.scheduled_at)::float8
                        + placed.priority * (select ageing_seconds from pool_room),
                        placed.priority, placed.scheduled_at, placed.id
           ) as rank
    from placed
),
-- Only where there are more than have room must they be counted one by one; mostly nothing is tight.
tight_part as materialized (
    select part_room.kind, part_room.part, part_room.room
    from (select kind, part, count(*) as jobs from candidate group by kind, part) as found
    join part_room on part_room.kind = found.kind and part_room.part = found.part
    where found.jobs > part_room.room
),
of_part as (
    select id, kind, lane, rank from ranked where not exists (select from tight_part)
    union all
    select id, kind, lane, rank from ranked
    where exists (select from tight_part)
      and (kind, part) not in (select tight_part.kind, tight_part.part from tight_part)
    union all
    select counted.id, counted.kind, counted.lane, counted.rank
    from (
        select ranked.*, tight_part.room,
               row_number() over (partition by ranked.kind, ranked.part order by ranked.rank) as place
        from tight_part
        join ranked on ranked.kind = tight_part.kind and ranked.part = tight_part.part
    ) as counted
    where counted.place <= counted.room
),
tight_kind as materialized (
    select kind_room.kind, kind_room.room
    from (select kind, count(*) as jobs from candidate group by kind) as found
    join kind_room on kind_room.kind = found.kind
    where found.jobs > kind_room.room
),
of_kind as (
    select id, lane, rank from of_part where not exists (select from tight_kind)
    union all
    select id, lane, rank from of_part
    where exists (select from tight_kind) and kind not in (select tight_kind.kind from tight_kind)
    union all
    select counted.id, counted.lane, counted.rank
    from (
        select of_part.*, tight_kind.room,
               row_number() over (partition by of_part.kind order by of_part.rank) as place
        from tight_kind
        join of_part on of_part.kind = tight_kind.kind
    ) as counted
    where counted.place <= counted.room
),
chosen as materialized (
    select id, lane, rank from of_kind order by rank limit (select room from pool_room)
)
select array(select id from chosen order by rank) as ids,
       (select count(*) from candidate) > (select count(*) from chosen)
       or exists (select from candidate group by lane having count(*) > (select jobs from depth))
       or (select room = 0 and {part is_waited_for} from pool_room) as is_more,
       (
           select min(held.free_in)
           from (
               select free_in from pool_room where room = 0
               union all
               select free_in from kind_room where room = 0
               union all
               select free_in from part_room where room = 0
           ) as held
       ) as free_in,
       (select lane from chosen where lane is not null order by rank desc limit 1) as after
