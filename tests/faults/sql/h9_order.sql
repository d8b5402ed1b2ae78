-- H9: jobs of a dynamic queue in strict order that began while one that had begun before was still to be tried again.
with run as (
    select every.id as job, every.queue, min(step.at) as began,
           max(step.at) filter (where step.source = 'running') as over
    from faults.step
    join workerqueue.job_all as every on every.id = step.job
    where every.queue <> every.pool and exists (select from faults.rule where is_strict)
    group by 1, 2
),
started as (
    select run.job, run.queue, (
               select min(step.at) from faults.step where step.job = run.job and step.target = 'running'
           ) as began, run.over
    from run
),
before as (
    select *, lag(job) over by_name as earlier, lag(over) over by_name as earlier_over
    from started
    where began is not null
    window by_name as (partition by queue order by began)
)
select job, 'began in ' || queue || ' before job ' || earlier || ' was over' as what
from before
where earlier is not null and began < earlier_over
