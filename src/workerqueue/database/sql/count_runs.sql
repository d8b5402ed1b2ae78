-- Let the limits of pools count what runs there already, that was claimed before there were any.
--
--   $1 pools
-- Reads the live table, once when a pool is given rules at run time.
-- Called by: the producer, while it holds the pools' gates.
update {schema}.job
set is_counted = true
where id = any (array(
    select id
    from {schema}.job
    where state = 'running' and is_counted is null and pool = any ($1::text[])
    order by id
    for update
))
