-- H8: starts beyond the attempts a job has, and starts cut off by a stop that were counted.
select step.job, 'attempt ' || step.new_attempt || ' of ' || step.max_attempts as what
from faults.step
where step.new_attempt > step.max_attempts
union all
select step.job, 'a start cut off by a stop was counted'
from faults.step
where step.source = 'running' and step.target = 'available' and not step.lost and step.new_attempt <> step.old_attempt - 1
