-- H9: dynamic queues that are noted as running after quiet.
select 0 as job, name || ' is still there' as what from workerqueue.dynamic_queue
