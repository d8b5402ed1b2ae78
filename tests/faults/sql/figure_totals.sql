-- What was inserted, started and ended; and H7: how many starts did not end by themselves.
select (select count(*) from faults.ack) as acknowledged,
       (select count(*) from faults.row) as jobs,
       (select count(*) from faults.row where state = 'completed') as completed,
       (select count(*) from faults.row where state = 'discarded') as discarded,
       (select count(*) from faults.step where target = 'running') as starts,
       (select count(*) from faults.step where source = 'running' and lost) as rescued,
       (select count(*) from faults.outcome where not accepted) as refused,
       (select coalesce(percentile_cont(0.99) within group (order by extract(epoch from step.at - step.scheduled_at)), 0)
        from faults.step where target = 'running' and new_attempt = 1)::float8 as pickup_p99,
       (select count(*) from workerqueue.client where ended_as = 'lost') as declared_dead
