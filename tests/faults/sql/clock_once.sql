-- Clocks: jobs whose time has come and that did not complete just once, or were started more often than they asked for.
select asked.job, stored.kind || ' completed ' || history.completions || ' times, of ' || history.starts || ' starts' as what
from faults.asked
left join workerqueue.job_all as stored on stored.id = asked.job
cross join lateral (
    select count(*) filter (where step.target = 'running') as starts,
           count(*) filter (where step.target = 'completed') as completions
    from faults.step
    where step.job = asked.job
) as history
where stored.id is null
   or stored.scheduled_at <= clock_timestamp() and (
          history.completions <> 1
          or stored.kind in ('once', 'long') and history.starts <> 1
          or stored.kind = 'retried' and history.starts <> 2
      )
   or stored.scheduled_at > clock_timestamp() and history.starts > 0
