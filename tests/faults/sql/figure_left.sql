-- How many runs were left behind by processes that were asked to stop, and that nothing else had struck.
select count(*)
from faults.step
join workerqueue.client on client.number = step.old_client
where step.lost and step.source = 'running'
  and client.pid in (select pid from faults.strike where kind = 'term')
  and client.pid not in (select pid from faults.strike where kind in ('kill', 'freeze', 'hush'))
