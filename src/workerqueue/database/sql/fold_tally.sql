-- Add up the counts of ended jobs: one row for each day, queue and state.
--
-- Two at once add up different rows.
--   $1 at most how many rows at once
-- Reads tally, which holds what has ended since the last time.
-- Called by: the leader.
with folded as (
    delete from {schema}.tally
    where ctid = any (array(select ctid from {schema}.tally limit $1 for update skip locked))
    returning day, pool, state, jobs
),
kept as (
    insert into {schema}.tally (day, pool, state, jobs)
    select day, pool, state, sum(jobs)
    from folded
    group by day, pool, state
    having sum(jobs) <> 0
    returning day
)
select (select count(*) from folded) as folded, (select count(*) from kept) as kept
