-- H8: jobs that became ready, or were started, before their time.
select step.job, step.source || ' → ' || step.target || ' ' || step.scheduled_at - step.at || ' early' as what
from faults.step
where step.source in ('scheduled', 'retryable', 'available') and step.target in ('available', 'running')
  and step.scheduled_at > step.at
