-- Forget values that have expired, and leases that nobody has held for a day.
--
--   $1 at most how many of each
-- Stands on: value_expiring, lease_old.
-- Called by: the expirer.
with old_values as (
    delete from {schema}.value
    where key = any (array(
        select key from {schema}.value where expires_at <= statement_timestamp()
        order by expires_at
        limit $1
        for update skip locked
    ))
    returning key
),
old_leases as (
    delete from {schema}.lease
    where (key, place) in (
        select key, place from {schema}.lease where until < statement_timestamp() - interval '1 day'
        order by until
        limit $1
        for update skip locked
    )
    returning key
)
select (select count(*) from old_values) + (select count(*) from old_leases) as forgotten
