-- Clocks: the longest that a job waited for its start once it was due and there, in seconds.
select coalesce(max(extract(epoch from started.at - greatest(started.scheduled_at, there.at))), 0)::float8 as longest
from faults.step as started
cross join lateral (
    select max(step.at) as at
    from faults.step
    where step.job = started.job and step.seq < started.seq and (step.operation = 'insert' or step.source = 'running')
) as there
where started.target = 'running'
