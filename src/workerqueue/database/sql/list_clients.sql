-- List the clients that work: what each works, and how many jobs it runs.
--
-- Reads the live table, whenever somebody asks.
-- Called by: Client.clients.
select client.id, client.started_at, client.heartbeat_at, client.pools as queues, client.kinds,
       coalesce(busy.running, 0) as running
from {schema}.client
left join (
    select client as number, count(*) as running
    from {schema}.job
    where state = 'running'
    group by client
) as busy using (number)
where client.ended_at is null
order by client.number
