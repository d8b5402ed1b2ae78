-- Forget clients that ended long ago and that no job names any more.
--
--   $1 how many seconds ago  $2 at most how many
-- Reads the live table and the history, where such a client is found at all.
-- Called by: the pruner.
with old as materialized (
    select number
    from {schema}.client
    where ended_at < statement_timestamp() - make_interval(secs => $1::float8)
      and not exists (select from {schema}.leader where leader.client = client.number)
    order by number
    limit $2
),
those as materialized (
    select array(select number from old) as numbers
),
named as (
    select client as number from {schema}.job where client = any ((select numbers from those)::integer[])
    union
    select unnest(attempted_by) from {schema}.job where attempted_by && (select numbers from those)
    union
    select client from {schema}.job_finalized where client = any ((select numbers from those)::integer[])
    union
    select unnest(attempted_by) from {schema}.job_finalized where attempted_by && (select numbers from those)
),
pruned as (
    delete from {schema}.client
    where number in (select number from old) and not exists (select from named where named.number = client.number)
    returning number
)
select count(*) as pruned from pruned
