-- H5: ended jobs that ended more than once, or have no run that ended them.
select every.id as job, 'ended ' || count(step.job) || ' times' as what
from faults.row as every
left join faults.step
    on step.job = every.id and step.operation = 'delete' and step.target in ('completed', 'cancelled', 'discarded')
where every.state in ('completed', 'cancelled', 'discarded')
group by every.id
having count(step.job) <> 1
