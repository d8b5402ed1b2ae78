-- One row a change of state: the removal of a live job and its arrival among the ended are one step.
create table faults.step as
select step.seq, step.at, step.writer, step.job, step.operation, step.old_state as source,
       coalesce(step.new_state, final.new_state) as target,
       step.old_lease, step.new_lease, step.old_client, step.new_client, step.old_attempt, step.new_attempt,
       step.max_attempts, step.scheduled_at, step.lost or coalesce(final.lost, false) as lost
from faults.audit as step
left join faults.audit as final
    on step.operation = 'delete' and final.operation = 'final' and final.job = step.job and final.xact = step.xact
where step.operation <> 'final';

create index on faults.step (job, old_lease);
create index on faults.step (job, new_lease);
create index on faults.effect (job, lease);
create index on faults.external (job, lease);
create index on faults.exact (job);
create index on faults.ack (token);
create table faults.row as select id, args ->> 'token' as token, kind, state, checkpoint from workerqueue.job_all;
create index on faults.row (token);
create index on faults.row (id);
analyze faults.step, faults.effect, faults.external, faults.exact, faults.ack, faults.row, faults.outcome, faults.intent;
