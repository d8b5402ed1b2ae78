-- Tell in how many seconds the next waiting job falls due; null when none waits.
--
-- Stands on: job_due, its first entry.
-- Called by: the scheduler.
select extract(epoch from scheduled_at - statement_timestamp())::float8 as seconds
from {schema}.job
where state in ('scheduled', 'retryable')
order by scheduled_at, id
limit 1
