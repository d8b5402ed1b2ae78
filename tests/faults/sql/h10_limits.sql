-- H10: moments at which more jobs ran than a limit of a queue, a kind or a part of a kind allows.
with run as (
    select step.job, every.kind, right(every.args ->> 'token', 1) as part, step.at as began,
           (
               select min(ended.at)
               from faults.step as ended
               where ended.job = step.job and ended.seq > step.seq and ended.source = 'running'
           ) as ended
    from faults.step
    join workerqueue.job_all as every on every.id = step.job
    where step.target = 'running'
),
counted as (
    select rule.name || case when rule.by_part then ' ' || run.part else '' end as name, rule.most, run.job,
           run.began, run.ended
    from run
    join faults.rule on rule.kind is null or rule.kind = run.kind
),
change as (
    select name, most, job, began as at, 1 as jobs from counted
    union all
    select name, most, job, ended, -1 from counted where ended is not null
),
running as (
    -- At the same moment, what ends makes room for what begins.
    select name, most, job, at, sum(jobs) over (partition by name order by at, jobs, job) as jobs from change
)
select job, jobs || ' ran at once of ' || name || ', of ' || most || ' allowed, at ' || at as what
from running
where jobs > most
