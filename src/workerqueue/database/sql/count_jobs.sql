-- Count jobs by queue and state: the live ones one by one, those that have ended by their tally.
--
-- Reads the live table, however long the history is, whenever somebody asks; and tally.
-- Called by: Client.stats, client.queues.
select pool, case state when 'waiting' then 'pending' else state::text end as state, count(*) as jobs
from {schema}.job
group by 1, 2
union all
select pool, state::text, sum(jobs)::bigint
from {schema}.tally
group by 1, 2
having sum(jobs) > 0
