-- H1: jobs that never ended, acknowledged or not.
select id as job, 'is still ' || state || coalesce(' of client ' || client, '') as what
from workerqueue.job
