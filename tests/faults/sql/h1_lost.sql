-- H1: acknowledged inserts that are not there, or whose id is another job's.
select ack.job, 'is not there' as what
from faults.ack
left join faults.row as every on every.id = ack.job and every.token = ack.token
where every.id is null
