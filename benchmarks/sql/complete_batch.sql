-- Move the runs of one claim to the history, while their lease is good.
--
--   $1 ids  $2 lease
-- Stands on: live's primary key.
-- Called by: BareQueue.complete.
with ended as (
    delete from {schema}.live
    where id = any ($1::bigint[]) and lease = $2
    returning *
)
insert into {schema}.finalized (
    id, created_at, scheduled_at, attempted_at, timeout, attempt, max_attempts, priority, state,
    kind, queue, pool, attempted_by, args, errors, tags, metadata
)
select id, created_at, scheduled_at, attempted_at, timeout, attempt, max_attempts, priority, 'completed',
       kind, queue, pool, attempted_by, args, errors, tags, metadata
from ended
