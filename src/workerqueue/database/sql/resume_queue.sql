-- End the pause of a queue, a dynamic one, or all (`*`), and tell every client.
--
-- What nothing else was said of is forgotten; whatever rows there were before is all that `*` pauses or resumes.
--   $1 its name  $2 the channel  $3 what to say there
-- Answers whether it was paused before.
-- Stands on: queue's primary key.
-- Called by: client.queues.
with forgotten as (
    delete from {schema}.queue
    where name = $1 and paused_at is not null
      and max_workers is null and global_limit is null and rate_starts is null and not is_added
    returning name
),
resumed as (
    update {schema}.queue
    set paused_at = null, changed_at = statement_timestamp()
    where name = $1 and paused_at is not null
      and not (max_workers is null and global_limit is null and rate_starts is null and not is_added)
    returning name
)
select count(*) > 0 as changed, count(pg_notify($2, $3))
from (select name from forgotten union all select name from resumed) as changed
