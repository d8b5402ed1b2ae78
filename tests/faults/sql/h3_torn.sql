-- H3: callers' transactions of which one half is there: their own row, or the job.
select every.id as job, 'token ' || intent.token || ' has only one of its two rows' as what
from faults.intent
left join faults.row as every on every.token = intent.token
left join faults.business on business.token = intent.token
where intent.how in ('insert_tx', 'rollback') and (every.id is null) <> (business.token is null)
