-- H2: inserts that are there more than once.
select min(id) as job, 'token ' || token || ' is there ' || count(*) || ' times' as what
from faults.row
group by token
having count(*) > 1
