-- H8: clients that were declared dead though nothing had struck them.
select 0 as job, 'client ' || client.number || ' of process ' || client.pid || ' was declared dead for nothing' as what
from workerqueue.client
where client.ended_as = 'lost'
  and not exists (
      select from faults.strike
      where (strike.pid = client.pid or strike.pid is null)
        and strike.at <= client.ended_at and strike.until >= client.heartbeat_at - interval '1 s'
  )
