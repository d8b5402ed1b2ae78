-- Clocks: jobs that are due, or run, and have not ended.
select id as job, 'is ' || state || ', due at ' || scheduled_at as what
from workerqueue.job
where scheduled_at <= clock_timestamp() or state = 'running'
