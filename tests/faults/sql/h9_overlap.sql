-- H9: jobs of one dynamic queue that ran at the same time.
with run as (
    select step.job, every.queue, step.at as began,
           (
               select min(ended.at)
               from faults.step as ended
               where ended.job = step.job and ended.seq > step.seq and ended.source = 'running'
           ) as ended
    from faults.step
    join workerqueue.job_all as every on every.id = step.job
    where step.target = 'running' and every.queue <> every.pool
),
before as (
    select *, lag(job) over by_name as earlier, lag(ended) over by_name as earlier_ended
    from run
    window by_name as (partition by queue order by began)
)
select job, 'began in ' || queue || ' while job ' || earlier || ' ran' as what
from before
where earlier_ended is null and earlier is not null or began < earlier_ended
