-- Clocks: jobs that are not due when their inserter asked for, by the database's clock.
select asked.job, 'due at ' || inserted.scheduled_at || ', inserted at ' || stored.created_at || ', asked for '
       || coalesce(asked.due::text, asked.delay || ' s later') as what
from faults.asked
join faults.step as inserted on inserted.job = asked.job and inserted.operation = 'insert'
join workerqueue.job_all as stored on stored.id = asked.job
where abs(extract(epoch from inserted.scheduled_at - coalesce(asked.due, stored.created_at + make_interval(secs => asked.delay))))
      > 0.001
