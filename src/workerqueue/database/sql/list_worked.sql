-- Count the living clients that work each queue.
--
-- Stands on: client_alive.
-- Called by: client.queues.
select pool, count(*)::integer as clients
from {schema}.client
cross join unnest(pools) as worked (pool)
where ended_at is null
group by pool
