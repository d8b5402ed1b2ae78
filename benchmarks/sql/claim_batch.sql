-- Claim the next jobs of one pool.
--
--   $1 lease  $2 how many  $3 the client's id
-- Stands on: live_ready.
-- Called by: BareQueue.claim.
with ready as (
    select id
    from {schema}.live
    where pool = 'default' and state = 'available'
    order by priority, scheduled_at, id
    limit $2
    for update skip locked
)
update {schema}.live
set state = 'running',
    lease = $1,
    attempt = attempt + 1,
    attempted_at = statement_timestamp(),
    attempted_by = array_append(attempted_by, $3::text)
-- Not joined: of a join the planner expects a hundred times LIMIT rows, and reads the whole table for them.
where id = any (array(select id from ready))
returning id, kind, args::text, attempt, max_attempts
