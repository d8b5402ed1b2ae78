-- Count the live jobs of one dynamic queue by pool and state.
--
--   $1 its name
-- Reads the live table, whenever somebody asks.
-- Called by: client.queues.
select pool, case state when 'waiting' then 'pending' else state::text end as state, count(*) as jobs
from {schema}.job
where queue = $1
group by 1, 2
