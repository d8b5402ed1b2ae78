-- How long after a kill the jobs of the dead were started again, in seconds.
select percentile_cont(0.99) within group (order by extract(epoch from again.at - strike.at))::float8 as p99,
       count(*) as jobs
from faults.strike
join workerqueue.client on client.pid = strike.pid
join faults.step as rescue on rescue.old_client = client.number and rescue.lost and rescue.target = 'available'
cross join lateral (
    select step.at
    from faults.step
    where step.job = rescue.job and step.seq > rescue.seq and step.target = 'running'
    order by step.seq
    limit 1
) as again
where strike.kind = 'kill'
