-- H3: inserts that were rolled back and are there all the same.
select every.id as job, 'token ' || every.token || ' was rolled back' as what
from faults.row as every
join faults.intent using (token)
where intent.how = 'rollback'
