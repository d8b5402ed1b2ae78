-- How long after a fault of a kind the next job was ended, in seconds, at most.
--
--   $1 the kind
select max(extract(epoch from again.at - strike.until))::float8 as longest
from faults.strike
cross join lateral (
    select min(step.at) as at from faults.step where step.at > strike.until and step.source = 'running'
) as again
where strike.kind = $1
