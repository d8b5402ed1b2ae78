-- H8: jobs that were taken from a client that was not dead, or that a client left behind when it stopped.
select step.job, 'taken from client ' || step.old_client || ', which was '
                 || coalesce(client.ended_as, 'alive') as what
from faults.step
left join workerqueue.client on client.number = step.old_client
where step.source = 'running' and step.lost
  and (client.ended_as is distinct from 'lost' or client.ended_at > step.at)
