-- H5: runs that were ended by somebody other than the client that had them, but for the rescued.
select step.job, step.writer || ' wrote ' || step.target || ' for a run of ' || client.id as what
from faults.step
join workerqueue.client on client.number = step.old_client
where step.source = 'running' and not step.lost and step.writer <> 'workerqueue ' || client.id
